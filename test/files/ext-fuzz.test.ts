// Images that were damaged, or made to do harm: nothing but an error of the file layer may come of them, within bounds.
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { FileError } from '../../src/files/file-error.js';
import { FileKind, type Filesystem, type FileStat } from '../../src/files/filesystem.js';
import { openFilesystem } from '../../src/files/open-filesystem.js';
import { needsPrograms } from '../fixtures/programs.js';
import { mustRun } from '../fixtures/run-program.js';
import { seededBytes, seededNumbers } from '../fixtures/seeded.js';
import { workFolder } from '../fixtures/work-folder.js';

const IMAGE_BYTES = 2 * 1024 * 1024;
const BLOCK_BYTES = 1024;
/** A file may claim to be large and sparse; all that is read of one, and of all together, is bounded. */
const READ_MAX = IMAGE_BYTES / 2;
const FILES_MAX = 100;
const ROUNDS = 24;
const FLIPS_MAX = 12;

/** Reads all that a walk finds, each directory once. @returns how much of it there was, and how much could not be read. */
async function readEverything(filesystem: Filesystem): Promise<{ readBytes: number; errorCount: number }> {
  const waiting: (string | Pick<FileStat, 'inodeNumber'>)[] = ['/'];
  const seen = new Set<number>();
  let [fileCount, readBytes, errorCount] = [0, 0, 0];
  const orFileError = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      errorCount += 1;
    }
  };
  while (waiting.length > 0 && fileCount < FILES_MAX) {
    const file = waiting.pop()!;
    fileCount += 1;
    await orFileError(async () => {
      const stat = await filesystem.stat(file, { followsLast: false });
      if (seen.has(stat.inodeNumber)) return;
      seen.add(stat.inodeNumber);
      await filesystem.readAttributes(file);
      if (stat.kind === FileKind.Symlink) await filesystem.readLink(file);
      if (stat.kind === FileKind.Directory) {
        for await (const { inodeNumber } of filesystem.readDirectory(file)) {
          if (waiting.length < FILES_MAX) waiting.push({ inodeNumber });
        }
      }
      if (stat.kind === FileKind.File) {
        for await (const chunk of filesystem.readFile(file, { lengthBytes: READ_MAX })) {
          readBytes += chunk instanceof Uint8Array ? chunk.length : 0;
        }
      }
    });
  }
  return { readBytes, errorCount };
}

function deviceOf(image: Buffer): MemoryDevice {
  const device = new MemoryDevice(image.length);
  device.write(0, image);
  return device;
}

async function makeImage(folder: string, name: string, options: readonly string[]): Promise<Buffer> {
  const tree = join(folder, `tree-${name}`);
  mkdirSync(join(tree, 'many'), { recursive: true });
  for (let index = 0; index < 40; index += 1) writeFileSync(join(tree, 'many', `file-${index}`), `${index}`);
  writeFileSync(join(tree, 'large'), seededBytes('large', 80_000));
  symlinkSync('large', join(tree, 'short'));
  symlinkSync(`/${'long/'.repeat(30)}`, join(tree, 'long'));
  const path = join(folder, name);
  await mustRun('mke2fs', [
    '-q',
    '-b',
    String(BLOCK_BYTES),
    '-d',
    tree,
    ...options,
    path,
    `${IMAGE_BYTES / 1024}k`,
  ]);
  const setting = `ea_set /large user.attribute ${'long'.repeat(50)}`;
  await mustRun('debugfs', ['-w', '-R', setting, path]);
  return readFileSync(path);
}

for (const [name, options] of [
  ['ext2', ['-t', 'ext2']],
  ['ext4 without checksums', ['-t', 'ext4', '-O', '^metadata_csum,^has_journal']],
  ['ext4 with inline data', ['-t', 'ext4', '-I', '256', '-O', 'inline_data,^metadata_csum,^has_journal']],
] as const) {
  t.test(`flipped bytes in ${name}`, needsPrograms('mke2fs', 'debugfs'), async (t) => {
    const image = await makeImage(workFolder(t), 'image', options);
    const sound = await readEverything(await openFilesystem(deviceOf(image)));
    t.match(sound, { errorCount: 0 }, 'the sound image is read whole');
    t.ok(sound.readBytes > 80_000);
    // What is worth damaging: all blocks that hold anything but what "large" does.
    const numbers = seededNumbers(name);
    const metadataBytes = metadataBytesOf(image);
    let [openedCount, damagedCount] = [0, 0];
    for (let round = 0; round < ROUNDS; round += 1) {
      const damagedImage = Buffer.from(image);
      for (let flips = 1 + numbers(FLIPS_MAX); flips > 0; flips -= 1) {
        damagedImage[metadataBytes[numbers(metadataBytes.length)]!] = numbers(256);
      }
      try {
        const filesystem = await openFilesystem(deviceOf(damagedImage));
        openedCount += 1;
        const { readBytes, errorCount } = await readEverything(filesystem);
        damagedCount += errorCount;
        if (readBytes > FILES_MAX * READ_MAX) t.fail(`round ${round} read ${readBytes} bytes`);
      } catch (error) {
        if (!(error instanceof FileError)) throw new Error(`round ${round} of ${name}`, { cause: error });
        damagedCount += 1;
      }
    }
    t.ok(openedCount > 0 && damagedCount > 0, 'some open, and some of the damage shows', {
      openedCount,
      damagedCount,
    });
  });
}

/** Bytes that are not zero, of blocks with few different ones, which random content has not. */
function metadataBytesOf(image: Buffer): readonly number[] {
  const places: number[] = [];
  for (let start = BLOCK_BYTES; start < image.length; start += BLOCK_BYTES) {
    const block = image.subarray(start, start + BLOCK_BYTES);
    if (block.every((byte) => byte === 0) || new Set(block).size > 200) continue;
    block.forEach((byte, index) => {
      if (byte !== 0) places.push(start + index);
    });
  }
  return places;
}

t.test(
  'blocks of pointers that share one another end in an error',
  needsPrograms('mke2fs', 'debugfs'),
  async (t) => {
    const folder = workFolder(t);
    const image = await makeImage(folder, 'image', ['-t', 'ext2']);
    const path = join(folder, 'image');
    // The last three blocks become a table of tables, a table of the same empty table, and that empty table.
    const [empty, middle, top] = [1, 2, 3].map((back) => IMAGE_BYTES / BLOCK_BYTES - back) as [
      number,
      number,
      number,
    ];
    const fill = (block: number, pointer: number): void => {
      for (let at = 0; at < BLOCK_BYTES; at += 4) image.writeUInt32LE(pointer, block * BLOCK_BYTES + at);
    };
    fill(empty, 0);
    fill(middle, empty);
    fill(top, middle);
    const stated = await mustRun('debugfs', ['-R', 'imap /large', path]);
    const [, block, offset] = /located at block (\d+), offset (0x[0-9a-f]+)/.exec(stated) ?? [];
    const inode = Number(block) * BLOCK_BYTES + Number(offset);
    image.fill(0, inode + 0x28, inode + 0x64);
    image.writeUInt32LE(top, inode + 0x28 + 14 * 4);
    image.writeUInt32LE(0xf0000000, inode + 0x4);
    const filesystem = await openFilesystem(deviceOf(image));
    await t.rejects(
      async () => {
        let bytes = 0;
        for await (const chunk of filesystem.readFile('/large'))
          bytes += chunk instanceof Uint8Array ? chunk.length : 0;
        return bytes;
      },
      { name: 'FileError', code: 'EIO', message: /blocks of pointers/ },
    );
  },
);
