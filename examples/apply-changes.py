#!/usr/bin/python3
"""Brings yesterday's image up to date: reads only what has changed, and writes it in place.

usage: apply-changes.py URI SINCE IMAGE

URI    of an export that was served with ",since=SINCE", such as nbd://localhost/today
SINCE  the snapshot that IMAGE is a copy of
IMAGE  a raw image; it grows where the disk has grown

Needs libnbd's Python module (Debian: python3-libnbd).
"""

import os
import sys

import nbd

# As much as one question, and one read, is about.
QUESTION_BYTES = 4 << 30
READ_BYTES = 8 << 20

# The flags of ebs:changed: and of base:allocation.
CHANGED = 1
ZERO = 2


def main(uri, since, path):
    changed = "ebs:changed:" + since
    h = nbd.NBD()
    h.add_meta_context(changed)
    h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    h.connect_uri(uri)
    if not h.can_meta_context(changed):
        sys.exit(f"{uri} does not offer {changed}: serve it with ,since={since}")

    fd = os.open(path, os.O_RDWR)
    size = h.get_size()
    # What is added to a file reads as zeros.
    size_before = os.fstat(fd).st_size
    if size_before < size:
        os.ftruncate(fd, size)
    copied = zeroed = offset = 0
    while offset < size:
        count = min(QUESTION_BYTES, size - offset)
        runs = extents_of(h, offset, count)
        # The answers of the two contexts may end in different places: what both cover counts.
        end = min(sum(length for length, _ in runs[name]) for name in runs)
        for length, flags in joined(runs[changed], runs[nbd.CONTEXT_BASE_ALLOCATION], end):
            if flags[0] & CHANGED:
                if flags[1] & ZERO:
                    zeroed += zero(fd, offset, max(0, min(length, size_before - offset)))
                else:
                    copied += copy(h, fd, offset, length)
            offset += length
    os.ftruncate(fd, size)
    os.fsync(fd)
    os.close(fd)
    h.shutdown()
    print(f"copied {copied} bytes, zeroed {zeroed} bytes of {size}")


def extents_of(h, offset, count):
    """What each context says about the beginning of a range: lists of (length, flags)."""
    runs = {}

    def extent(context, _offset, entries, _error):
        runs[context] = list(zip(entries[0::2], entries[1::2]))

    h.block_status(count, offset, extent)
    return runs


def joined(first, second, end):
    """Walks two lists of runs at once, up to `end`."""
    at = i = j = used_i = used_j = 0
    while at < end:
        length = min(first[i][0] - used_i, second[j][0] - used_j, end - at)
        yield length, (first[i][1], second[j][1])
        at += length
        used_i += length
        used_j += length
        if used_i == first[i][0]:
            i, used_i = i + 1, 0
        if used_j == second[j][0]:
            j, used_j = j + 1, 0


def copy(h, fd, offset, length):
    for at in range(offset, offset + length, READ_BYTES):
        write(fd, h.pread(min(READ_BYTES, offset + length - at), at), at)
    return length


def zero(fd, offset, length):
    zeros = bytes(min(length, READ_BYTES))
    for at in range(offset, offset + length, READ_BYTES):
        write(fd, zeros[: offset + length - at], at)
    return length


def write(fd, data, at):
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, at)
        view = view[done:]
        at += done


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
