// Whether the log of an XFS filesystem would be replayed, by logs of every shape. What the kernel leaves is tried in
// test/interop/mount.test.ts.
import t from 'tap';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { VolumeReader } from '../../src/files/volume-reader.js';
import { needsLogReplay } from '../../src/files/xfs/log-state.js';

const LOG_BLOCKS = 64;
const BLOCK_BYTES = 512;
/** The log is the second block of the third allocation group. */
const [FS_BLOCK_BYTES, GROUP_BLOCKS, GROUP_SHIFT] = [4096, 20, 5];
const LOG_OFFSET = (2 * GROUP_BLOCKS + 1) * FS_BLOCK_BYTES;

/** A record: its number of operations, its length without the header, and whether it is that of an unmount. */
interface Record {
  readonly at: number;
  readonly operationCount: number;
  readonly contentBlocks: number;
  readonly isUnmount: boolean;
}

/** A log that was written up to `head` in `cycle`, and to its end in the one before. */
function volumeOf(cycle: number, head: number, record: Record | undefined, logStart?: bigint): VolumeReader {
  const superblock = Buffer.alloc(512);
  superblock.write('XFSB');
  superblock.writeUInt32BE(FS_BLOCK_BYTES, 4);
  superblock.writeBigUInt64BE(logStart ?? BigInt((2 << GROUP_SHIFT) + 1), 48);
  superblock.writeUInt32BE(GROUP_BLOCKS, 84);
  superblock.writeUInt32BE((LOG_BLOCKS * BLOCK_BYTES) / FS_BLOCK_BYTES, 96);
  superblock.writeUInt8(GROUP_SHIFT, 124);
  const log = Buffer.alloc(LOG_BLOCKS * BLOCK_BYTES);
  for (let block = 0; block < LOG_BLOCKS; block += 1) {
    log.writeUInt32BE(block < head ? cycle : Math.max(0, cycle - 1), block * BLOCK_BYTES);
  }
  if (record !== undefined) {
    const header = record.at * BLOCK_BYTES;
    log.writeUInt32BE(0xfeedbabe, header);
    log.writeUInt32BE(record.at < head ? cycle : cycle - 1, header + 4);
    log.writeUInt32BE(2, header + 8);
    log.writeUInt32BE(record.contentBlocks * BLOCK_BYTES, header + 12);
    log.writeUInt32BE(record.operationCount, header + 40);
    log.writeUInt32BE(32_768, header + 320);
    const content = ((record.at + 1) % LOG_BLOCKS) * BLOCK_BYTES;
    log.writeUInt8(record.isUnmount ? 0x20 : 0x01, content + 9);
  }
  const device = new MemoryDevice(LOG_OFFSET + log.length);
  device.write(0, superblock);
  device.write(LOG_OFFSET, log);
  return new VolumeReader(device);
}

const unmount = (at: number, contentBlocks = 1): Record => ({
  ...{ at, operationCount: 1, contentBlocks, isUnmount: true },
});

for (const [name, cycle, head, record, expected] of [
  ['never written', 0, LOG_BLOCKS, undefined, false],
  ['made and unmounted', 1, 2, unmount(0), false],
  ['unmounted in its first round', 1, 12, unmount(10), false],
  ['unmounted in a later one', 7, 40, unmount(30, 9), false],
  ['unmounted at its very end', 3, LOG_BLOCKS, unmount(LOG_BLOCKS - 2), false],
  ['unmounted by a record across its end', 4, 1, unmount(LOG_BLOCKS - 1), false],
  ['changed last', 2, 12, { ...unmount(10), operationCount: 5, isUnmount: false }, true],
  ['one change last', 2, 12, { ...unmount(10), isUnmount: false }, true],
  ['more than a record of an unmount behind it', 2, 14, unmount(10), true],
  ['without any record', 2, 12, undefined, true],
] as const) {
  t.test(`a log: ${name}`, async (t) => {
    t.equal(await needsLogReplay(volumeOf(cycle, head, record)), expected);
  });
}

t.test('a log on another disk, and none that can be', async (t) => {
  t.equal(await needsLogReplay(volumeOf(1, 2, undefined, 0n)), false);
  await t.rejects(needsLogReplay(volumeOf(1, 2, undefined, 2n ** 60n)), { code: 'EIO' });
});
