"""One life of the server: changes over several connections, and its end."""

import struct

import nbd

from model import PARTS, SECTOR

IN_FLIGHT_MAX = 24


class Life:
    """The requests that are made while the server lives."""

    def __init__(self, world, handles):
        self.world = world
        self.handles = handles
        self.model = world.model
        self.dice = world.dice
        self.in_flight = 0
        self.failures = []

    def pick(self):
        start, length = self.dice.choice(PARTS)
        sectors = length // SECTOR
        first = self.dice.randrange(sectors)
        longest = self.dice.choice([1, 8, 8, 8, 300, 2500])
        count = min(sectors - first, self.dice.randint(1, longest))
        offset = start + first * SECTOR
        if self.dice.random() < 0.5:
            offset -= offset % 4096
        return offset, count * SECTOR

    def submit(self):
        handle = self.dice.choice(self.handles)
        kind = self.dice.random()
        if kind < 0.12:
            self.flush(handle)
            return
        offset, length = self.pick()
        sectors = self.model.sectors(offset, length)
        if any(sector in self.model.busy for sector in sectors):
            return
        fua = self.dice.random() < 0.05
        flags = nbd.CMD_FLAG_FUA if fua else 0
        self.model.version += 1
        version = self.model.version
        if kind < 0.75:
            buffer = nbd.Buffer.from_bytearray(bytearray(struct.pack("<Q", version) * (length // 8)))
        else:
            version = -version
        self.model.begin(sectors, version)

        def done(error):
            self.in_flight -= 1
            if error.value != 0:
                self.failures.append(error.value)
                return 1
            self.model.end(sectors)
            if fua:
                self.model.flushed({sector: version for sector in sectors})
            return 1

        self.in_flight += 1
        if version > 0:
            handle.aio_pwrite(buffer, offset, completion=done, flags=flags)
        elif kind < 0.87:
            handle.aio_trim(length, offset, completion=done, flags=flags)
        else:
            handle.aio_zero(length, offset, completion=done, flags=flags)

    def flush(self, handle):
        mark = self.model.mark()

        def done(error):
            self.in_flight -= 1
            if error.value != 0:
                self.failures.append(error.value)
            else:
                self.model.flushed(mark)
            return 1

        self.in_flight += 1
        handle.aio_flush(completion=done)

    def poll(self):
        for handle in self.handles:
            if handle.aio_in_flight() > 0:
                handle.poll(5)

    def drain(self):
        while self.in_flight > 0:
            self.poll()
        if self.failures:
            raise SystemExit(f"a request failed with {self.failures}")

    def write_some(self, count):
        for _ in range(count):
            offset, length = self.pick()
            sectors = self.model.sectors(offset, length)
            self.model.version += 1
            self.model.begin(sectors, self.model.version)
            self.dice.choice(self.handles).pwrite(struct.pack("<Q", self.model.version) * (length // 8), offset)
            self.model.end(sectors)

    def calm(self):
        """A snapshot while nobody writes: what was flushed, and nothing of what was not."""
        self.drain()
        self.write_some(self.dice.randint(0, 6))
        mark = self.model.mark()
        self.handles[0].flush()
        self.model.flushed(mark)
        flushed = {sector: [versions[0]] for sector, versions in self.model.allowed.items()}
        self.write_some(self.dice.randint(1, 8))
        # A commit that an earlier life began is finished by the first of the two.
        for _ in range(2):
            snapshot, was_resumed = self.world.commit_now()
        self.world.to_check = None if was_resumed else (snapshot, flushed)

    def run(self, operations):
        commit = None
        try:
            for number in range(operations):
                while self.in_flight >= IN_FLIGHT_MAX:
                    self.poll()
                self.submit()
                if commit is None and self.dice.random() < 0.6 / operations:
                    commit = self.world.begin_commit()
                if self.failures:
                    raise SystemExit(f"a request failed with {self.failures}")
            if commit is None and self.dice.random() < 0.2:
                self.calm()
            if self.dice.random() < 0.4:
                while self.in_flight > 0 and not self.failures:
                    self.poll()
            if commit is not None and self.dice.random() < 0.7:
                self.world.end_commit(commit, wait=True)
        finally:
            self.world.kill()
            if commit is not None:
                self.world.end_commit(commit, wait=False)
        self.model.busy.clear()
