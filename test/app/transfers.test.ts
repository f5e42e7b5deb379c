// Whole disks moved between files, streams and snapshots, through the client and an emulator in this process.
import { closeSync, openSync, readFileSync, readSync, readdirSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import t, { type Test } from 'tap';
import { copySnapshot } from '../../src/app/transfers/copying.js';
import { downloadSnapshot, type DownloadTask } from '../../src/app/transfers/downloading.js';
import { uploadImage, type UploadTask } from '../../src/app/transfers/uploading.js';
import type { TransferTask } from '../../src/app/transfers/transfer-task.js';
import type { FaultSettings } from '../../src/emulator/faults/settings.js';
import { silentLogger } from '../../src/util/logger.js';
import { GIB, MIB } from '../../src/util/units.js';
import { CREDENTIALS } from '../fixtures/emulator.js';
import { BLOCK_BYTES, emulatorFor } from '../fixtures/ebs-emulator.js';
import { seededBytes } from '../fixtures/seeded.js';
import { writeScatteredImage, writeSparseFile } from '../fixtures/sparse-file.js';
import { workFolder } from '../fixtures/work-folder.js';

Object.assign(process.env, CREDENTIALS);

/** Not a multiple of anything, and below 1 GiB: a tail of zeros is added. */
const SIZE_BYTES = 40 * MIB + 12_345;

interface Place {
  readonly folder: string;
  readonly common: Omit<TransferTask, 'signal'>;
  readonly image: string;
  upload(options?: Partial<UploadTask>): ReturnType<typeof uploadImage>;
  download(
    snapshotId: string,
    target: string,
    options?: Partial<DownloadTask>,
  ): ReturnType<typeof downloadSnapshot>;
  puts(snapshotId: string): number;
}

async function placeFor(t: Test, faults: Partial<FaultSettings> = {}): Promise<Place> {
  const folder = workFolder(t);
  const emulator = await emulatorFor(t, { faults });
  const image = join(folder, 'image');
  writeScatteredImage(image, { sizeBytes: SIZE_BYTES, runs: 12, runBytesMax: 2 * MIB, seed: 'moved' });
  const common = {
    api: { endpointUrl: emulator.url, inFlightMax: 8 },
    stateDir: join(folder, 'state'),
    logger: silentLogger,
  };
  const { signal } = new AbortController();
  const stdin = Readable.from([]);
  const stdout = new PassThrough();
  return {
    ...{ folder, common, image },
    upload: (options) => uploadImage({ ...common, signal, stdin, source: image, wishes: {}, ...options }),
    download: (snapshotId, target, options) =>
      downloadSnapshot({ ...common, signal, stdout, snapshotId, target, format: 'raw', ...options }),
    puts: (snapshotId) => emulator.stats().snapshots[snapshotId]?.puts ?? 0,
  };
}

/** A signal that aborts when so many blocks have been moved. */
function stopAfter(count: number): Pick<TransferTask, 'signal' | 'onProgress'> {
  const controller = new AbortController();
  return {
    signal: controller.signal,
    onProgress: ({ movedCount, step }) => {
      if (step === 'move' && movedCount >= count) controller.abort();
    },
  };
}

/** Whether a disk of 1 GiB begins with the image and has zeros behind it. Holes are not read. */
function isPadded(path: string, image: string): boolean {
  const bytes = readFileSync(image);
  const { size, blocks } = statSync(path);
  const file = openSync(path, 'r');
  const head = Buffer.alloc(bytes.length);
  const tail = Buffer.alloc(MIB);
  readSync(file, head, 0, head.length, 0);
  readSync(file, tail, 0, tail.length, size - tail.length);
  closeSync(file);
  return size === GIB && blocks * 512 < 64 * MIB && head.equals(bytes) && tail.equals(Buffer.alloc(MIB));
}

function overwrite(path: string, offset: number, bytes: Buffer): void {
  const file = openSync(path, 'r+');
  writeSync(file, bytes, 0, bytes.length, offset);
  closeSync(file);
}

/** The first block of a file that is not all zeros. */
function firstWritten(path: string): number {
  const file = openSync(path, 'r');
  const bytes = Buffer.alloc(SIZE_BYTES);
  readSync(file, bytes, 0, SIZE_BYTES, 0);
  closeSync(file);
  return Math.floor(bytes.findIndex((byte) => byte !== 0) / BLOCK_BYTES);
}

t.test('there and back over a faulty API: every byte, zeros to whole GiB, holes stay holes', async (t) => {
  const faults = {
    errorRate: 0.05,
    corruptRate: 0.05,
    dropRate: 0.03,
    emptyPageRate: 0.3,
    pageSize: 7,
    seed: 3,
  };
  const place = await placeFor(t, faults);
  const made = await place.upload({ wishes: { description: 'moved', tags: { a: 'b' } } });
  t.equal(made.volumeSizeGib, 1);
  t.equal(made.movedBlockCount, made.blockCount);
  const target = join(place.folder, 'back');
  const back = await place.download(made.snapshotId, target);
  t.equal(back.movedBlockCount, made.blockCount);
  t.ok(isPadded(target, place.image));
  t.equal(statSync(target).mode & 0o777, 0o600, 'private');
  t.strictSame(readdirSync(join(place.folder, 'state/transfers')), [], 'no journal is left');
  t.strictSame(readdirSync(place.folder).sort(), ['back', 'image', 'state'], 'nothing else either');
});

t.test('a download that was stopped goes on, and trusts nothing that it finds', async (t) => {
  const place = await placeFor(t);
  const { snapshotId, blockCount } = await place.upload();
  const target = join(place.folder, 'back');
  await t.rejects(place.download(snapshotId, target, stopAfter(10)), {
    message: /^Stopped\. Run the same command/,
  });
  t.throws(() => statSync(target), { code: 'ENOENT' }, 'no file under the final name');
  const part = `${target}.${snapshotId}.part`;
  const first = firstWritten(part);
  overwrite(part, first * BLOCK_BYTES + 7, Buffer.from('damaged'));
  overwrite(part, GIB - 100, Buffer.from('where nothing is'));
  const result = await place.download(snapshotId, target);
  t.ok(result.keptBlockCount >= 9, 'what was moved is not moved again');
  t.equal(result.keptBlockCount + result.movedBlockCount, blockCount);
  t.ok(isPadded(target, place.image));
});

t.test('an upload that was stopped goes on, also when the image has changed meanwhile', async (t) => {
  const place = await placeFor(t);
  await t.rejects(place.upload(stopAfter(10)), { message: /^Stopped\./ });
  const first = firstWritten(place.image);
  overwrite(place.image, first * BLOCK_BYTES, Buffer.alloc(BLOCK_BYTES));
  overwrite(place.image, SIZE_BYTES - 9, Buffer.from('otherwise'));
  const made = await place.upload();
  t.ok(made.keptBlockCount >= 8);
  t.equal(made.keptBlockCount + made.movedBlockCount, made.blockCount);
  const target = join(place.folder, 'back');
  await place.download(made.snapshotId, target);
  t.ok(isPadded(target, place.image));
});

t.test('a child: only what differs is put, and zeros where the parent has data', async (t) => {
  const place = await placeFor(t);
  const parent = await place.upload();
  const bytes = readFileSync(place.image).subarray(0, 30 * MIB + 5);
  bytes.fill(0, 0, 3 * BLOCK_BYTES);
  seededBytes('new', 600_000).copy(bytes, 10 * MIB);
  const child = join(place.folder, 'child');
  writeSparseFile(child, bytes);
  const made = await place.upload({ source: child, parentSnapshotId: parent.snapshotId });
  t.ok(made.blockCount < parent.blockCount, `${made.blockCount} of ${parent.blockCount}`);
  t.equal(made.parentSnapshotId, parent.snapshotId);
  const target = join(place.folder, 'back');
  await place.download(made.snapshotId, target);
  t.ok(isPadded(target, child));
  const same = await place.upload({ source: child, parentSnapshotId: made.snapshotId });
  t.equal(same.blockCount, 0, 'nothing differs');
  t.equal(place.puts(same.snapshotId), 0);
});

t.test('streams: of unknown length, of a length that was said, and too long', async (t) => {
  const place = await placeFor(t);
  const bytes = readFileSync(place.image);
  const chunks = function* (): Generator<Buffer> {
    for (let at = 0; at < bytes.length; at += 65_521) yield bytes.subarray(at, at + 65_521);
  };
  const spooled = await place.upload({ source: '-', stdin: Readable.from(chunks()) });
  const direct = await place.upload({ source: '-', stdin: Readable.from(chunks()), volumeSizeGib: 1 });
  t.equal(direct.checksum, spooled.checksum);
  const stdout = new PassThrough();
  const received: Buffer[] = [];
  let receivedBytes = 0;
  stdout.on('data', (chunk: Buffer) => {
    receivedBytes += chunk.length;
    // The tail of zeros would take a GiB of memory.
    if (receivedBytes < 64 * MIB) received.push(chunk);
  });
  await place.download(direct.snapshotId, '-', { stdout });
  t.equal(receivedBytes, GIB);
  t.ok(Buffer.concat(received).subarray(0, bytes.length).equals(bytes));
  const mib = Buffer.alloc(MIB);
  const zeros = function* (): Generator<Buffer> {
    for (let count = 0; count <= 1024; count += 1) yield mib;
  };
  await t.rejects(place.upload({ source: '-', stdin: Readable.from(zeros()), volumeSizeGib: 1 }), {
    message: /more than the 1 GiB of --volume-size/,
  });
  await t.rejects(place.upload({ source: '-', stdin: Readable.from([]) }), { message: /it is empty/ });
});

t.test('a copy into an emulator folder, stopped and gone on with', async (t) => {
  const place = await placeFor(t);
  const { snapshotId, blockCount } = await place.upload();
  const to = { emulatorDir: join(place.folder, 'elsewhere'), inFlightMax: 8 };
  const task = { ...place.common, ...{ snapshotId, to, wishes: {} } };
  await t.rejects(copySnapshot({ ...task, ...stopAfter(10) }), { message: /^Stopped\./ });
  const copy = await copySnapshot({ ...task, signal: new AbortController().signal });
  t.ok(copy.keptBlockCount >= 10);
  t.equal(copy.movedBlockCount + copy.keptBlockCount, blockCount);
  const target = join(place.folder, 'back');
  await place.download(copy.snapshotId, target, { api: to });
  t.ok(isPadded(target, place.image));
});

t.test('what cannot be, in one line', async (t) => {
  const place = await placeFor(t);
  const { snapshotId } = await place.upload();
  await t.rejects(place.download('snap-00000000000000000', join(place.folder, 'x')), {
    message: /no such snapshot/,
  });
  await t.rejects(place.download(snapshotId, place.folder), { message: /it is a folder/ });
  await t.rejects(place.download(snapshotId, join(place.folder, 'none/x')), { message: /no such file/ });
  await t.rejects(place.upload({ source: join(place.folder, 'none') }), { message: /no such file/ });
  await t.rejects(place.upload({ source: place.folder }), { message: /it is a folder/ });
  const large = join(place.folder, 'large');
  writeScatteredImage(large, { sizeBytes: GIB + 1, runs: 0, runBytesMax: 1, seed: '' });
  await t.rejects(place.upload({ source: large, volumeSizeGib: 1 }), { message: /takes 2 GiB/ });
  await t.rejects(
    place.download(snapshotId, join(place.folder, 'x'), {
      api: { ...place.common.api, costMaxUsd: 0.00001 },
    }),
    {
      message: /--max-cost.*Run the same command again/,
    },
  );
});
