"""What the sectors of a disk may hold, given what was written, answered and flushed."""

import struct

SECTOR = 512
DISK = 1 << 30
# Two parts of the disk are used: at its beginning, and far away at its end.
PARTS = [(0, 6 << 20), (DISK - (2 << 20), 2 << 20)]


class Model:
    """For every sector the versions that it may have, oldest first. A version is the number of a change: that of a write
    stands in its bytes, that of zeros is negative. 0 is the zeros at the beginning."""

    def __init__(self):
        self.allowed = {}
        self.busy = set()
        self.version = 0
        # While a commit goes on, everything that sectors have been or have become since it began.
        self.recording = None

    def sectors(self, offset, length):
        return range(offset // SECTOR, (offset + length) // SECTOR)

    def versions(self, sector):
        return self.allowed.get(sector, [0])

    def begin(self, sectors, version):
        for sector in sectors:
            self.allowed.setdefault(sector, [0]).append(version)
            if self.recording is not None:
                self.recording.setdefault(sector, [0]).append(version)
        self.busy.update(sectors)

    def end(self, sectors):
        self.busy.difference_update(sectors)

    def mark(self):
        """What a flush that begins now is to keep: the last version of each sector that was answered."""
        return {s: v[-2] if s in self.busy else v[-1] for s, v in self.allowed.items() if len(v) > 1}

    def flushed(self, mark):
        for sector, version in mark.items():
            versions = self.allowed[sector]
            if version in versions:
                del versions[: versions.index(version)]

    def check(self, sector, data, allowed=None):
        (stamp,) = struct.unpack_from("<Q", data)
        if data != data[:8] * 64:
            raise SystemExit(f"sector {sector} is torn: {sorted(set(struct.unpack('<64Q', data)))}")
        versions = self.versions(sector) if allowed is None else allowed.get(sector, [0])
        if stamp not in (max(version, 0) for version in versions):
            raise SystemExit(f"sector {sector} holds version {stamp} rather than one of {versions}")
        return stamp

    def settle(self, sector, version):
        self.allowed[sector] = [version]


def verify(handle, model, allowed=None):
    for start, length in PARTS:
        for offset in range(start, start + length, 1 << 20):
            data = handle.pread(1 << 20, offset)
            for at in range(0, len(data), SECTOR):
                sector = (offset + at) // SECTOR
                version = model.check(sector, data[at : at + SECTOR], allowed)
                if allowed is None and (version != 0 or sector in model.allowed):
                    model.settle(sector, version)
