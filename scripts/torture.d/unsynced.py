"""Takes back what a power cut may lose: sectors of the staged files that were written and not synced, and the end of a file
that has grown since. What the server writes down of that itself, unsynced.mjs says."""

import os
import struct

from model import SECTOR

RECORD = struct.Struct("<II4d")
WRITE = 1


def cut_power(log, folder, dice):
    """Returns how many sectors were taken back, and of how many."""
    unsynced, sizes = read_log(log)
    paths = {os.stat(entry.path).st_ino: entry.path for entry in os.scandir(folder)}
    lost = 0
    candidates = 0
    for inode, writes in unsynced.items():
        if inode not in paths:
            continue
        # What a sector was at the last sync: what the first write since then found.
        before = {}
        for position, old in writes:
            for at in range(0, len(old), SECTOR):
                before.setdefault(position + at, old[at : at + SECTOR])
        share = dice.choice([0.1, 0.5, 1.0])
        with open(paths[inode], "r+b") as file:
            for position, old in before.items():
                candidates += 1
                if dice.random() < share:
                    file.seek(position)
                    file.write(old)
                    lost += 1
            if dice.random() < 0.5 and os.fstat(file.fileno()).st_size > sizes[inode]:
                file.truncate(sizes[inode])
    return lost, candidates


def read_log(path):
    """The writes of each file since its last sync, oldest first, and its size then. The end may be torn by the kill."""
    with open(path, "rb") as file:
        data = file.read()
    unsynced = {}
    sizes = {}
    at = 0
    while at + RECORD.size <= len(data):
        kind, length, inode, position, size, number = RECORD.unpack_from(data, at)
        at += RECORD.size
        if at + length > len(data):
            break
        writes = unsynced.setdefault(int(inode), [])
        if kind == WRITE:
            writes.append((number, int(position), data[at : at + length]))
        else:
            writes[:] = [write for write in writes if write[0] > number]
            sizes[int(inode)] = int(size)
        at += length
    return {inode: [write[1:] for write in writes] for inode, writes in unsynced.items()}, sizes
