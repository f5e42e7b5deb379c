import t from 'tap';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { chooseVolume } from '../../src/files/choose-volume.js';
import { crc32c } from '../../src/files/crc32c.js';
import { readDiskLayout } from '../../src/files/disk-layout.js';
import { openFilesystem } from '../../src/files/open-filesystem.js';

const SECTOR = 512;

/** An entry of an MBR, or of the chain of logical partitions. */
function entry(type: number, startSector: number, sectorCount: number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt8(type, 4);
  bytes.writeUInt32LE(startSector, 8);
  bytes.writeUInt32LE(sectorCount, 12);
  return bytes;
}

function tableSector(...entries: readonly Buffer[]): Buffer {
  const sector = Buffer.alloc(SECTOR);
  entries.forEach((bytes, index) => bytes.copy(sector, 446 + index * 16));
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

t.test('CRC-32C of the check text of its catalogue', async (t) => {
  t.equal((crc32c(Buffer.from('123456789')) ^ 0xffffffff) >>> 0, 0xe3069283);
});

t.test('logical partitions, and a chain of them that is a circle', async (t) => {
  const disk = new MemoryDevice(1024 * 1024);
  disk.write(0, tableSector(entry(0x83, 64, 64), entry(0x05, 256, 1024)));
  disk.write(256 * SECTOR, tableSector(entry(0x83, 8, 32), entry(0x05, 128, 64)));
  disk.write((256 + 128) * SECTOR, tableSector(entry(0x82, 8, 16), entry(0x05, 128, 64)));
  const { table, volumes } = await readDiskLayout(disk);
  t.equal(table, 'mbr');
  t.strictSame(
    volumes.slice(0, 3).map(({ number, range }) => [number, range.offset / SECTOR]),
    [
      [1, 64],
      [5, 264],
      [6, 392],
    ],
  );
  t.ok(volumes.length <= 64, 'the circle ends');
});

t.test('what cannot be mounted is named for what it is', async (t) => {
  const disk = new MemoryDevice(1024 * 1024);
  t.throws(() => chooseVolume({ table: 'none', volumes: [] }), /Cannot find a filesystem/);
  const empty = await readDiskLayout(disk);
  t.throws(() => chooseVolume(empty), /may be empty/);
  disk.write(512, Buffer.from('LABELONE'));
  disk.write(512 + 24, Buffer.from('LVM2 001'));
  const lvm = await readDiskLayout(disk);
  t.equal(lvm.volumes[0]?.contents?.type, 'LVM2_member');
  t.throws(() => chooseVolume(lvm), /LVM.*vgchange/);
});

t.test('a disk of a ZFS pool, and UDF', async (t) => {
  const zfs = new MemoryDevice(1024 * 1024);
  // What nvlist_pack() of ZFS begins a label with: XDR, little-endian host, version, flags; then the first pair.
  zfs.write(16_384, Buffer.from('010100000000000000000001000000240000002000000007', 'hex'));
  zfs.write(16_384 + 24, Buffer.from('version'));
  const member = await readDiskLayout(zfs);
  t.equal(member.volumes[0]?.contents?.type, 'zfs_member');
  t.throws(() => chooseVolume(member), /ZFS.*zpool import/);
  const udf = new MemoryDevice(1024 * 1024);
  udf.write(32_768, Buffer.from('\0BEA01'));
  udf.write(32_768 + 2048, Buffer.from('\0NSR02'));
  t.match(chooseVolume(await readDiskLayout(udf)).contents, { type: 'udf', kind: 'filesystem' });
});

t.test('an ext superblock that contradicts itself is refused', async (t) => {
  const disk = new MemoryDevice(1024 * 1024);
  const superblock = Buffer.alloc(1024);
  superblock.writeUInt16LE(0xef53, 0x38);
  superblock.writeUInt32LE(40, 0x18);
  disk.write(1024, superblock);
  await t.rejects(openFilesystem(disk), { name: 'FileError', code: 'EIO' });
  superblock.writeUInt32LE(0x1, 0x60);
  disk.write(1024, superblock);
  await t.rejects(openFilesystem(disk), { name: 'FileError', code: 'ENOTSUP' });
});
