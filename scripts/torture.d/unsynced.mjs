// Loaded into the server by --import: writes down what the staged files held before each write, and what was synced, so
// that whoever kills the server can take back what a power cut may lose. See unsynced.py.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const RECORD_BYTES = 40;
const WRITE = 1;
const SYNC = 2;

const real = { ...fs };
const log = real.openSync(process.env.TORTURE_UNSYNCED, 'w');
/** The inodes of the staged files that are open. */
const inodes = new Map();
let writeCount = 0;

function note(kind, inode, position, sizeBytes, covered, oldBytes) {
  const record = Buffer.alloc(RECORD_BYTES + oldBytes.length);
  record.writeUInt32LE(kind, 0);
  record.writeUInt32LE(oldBytes.length, 4);
  [inode, position, sizeBytes, covered].forEach((value, index) => {
    record.writeDoubleLE(value, 8 + 8 * index);
  });
  oldBytes.copy(record, RECORD_BYTES);
  real.writeSync(log, record);
}

function beforeWrite(fd, offset, length, position) {
  const inode = inodes.get(fd);
  if (inode === undefined) return;
  const old = Buffer.alloc(length);
  real.readSync(fd, old, 0, length, position);
  writeCount += 1;
  note(WRITE, inode, position, 0, writeCount, old);
}

fs.open = (path, flags, ...rest) => {
  const done = rest.pop();
  real.open(path, flags, ...rest, (error, fd) => {
    if (!error && /\/(journal|journal\.new|data-[\d-]+)$/.test(String(path))) {
      const { ino, size } = real.fstatSync(fd);
      inodes.set(fd, ino);
      // As far as this life is concerned, what was there was synced.
      note(SYNC, ino, 0, size, writeCount, Buffer.alloc(0));
    }
    done(error, fd);
  });
};
fs.close = (fd, done) => {
  inodes.delete(fd);
  real.close(fd, done);
};
fs.write = (fd, data, offset, length, position, done) => {
  beforeWrite(fd, offset, length, position);
  real.write(fd, data, offset, length, position, done);
};
fs.writev = (fd, pieces, position, done) => {
  const lengthBytes = pieces.reduce((sum, { length }) => sum + length, 0);
  beforeWrite(fd, 0, lengthBytes, position);
  real.writev(fd, pieces, position, done);
};
fs.writeSync = (fd, data, offset, length, position) => {
  beforeWrite(fd, offset, length, position);
  return real.writeSync(fd, data, offset, length, position);
};
fs.fdatasync = (fd, done) => {
  const inode = inodes.get(fd);
  const covered = writeCount;
  const sizeBytes = real.fstatSync(fd).size;
  real.fdatasync(fd, (error) => {
    if (!error && inode !== undefined) note(SYNC, inode, 0, sizeBytes, covered, Buffer.alloc(0));
    done(error);
  });
};
syncBuiltinESMExports();
