import t from 'tap';
import { FrameWriter } from '../../src/writer/frame-writer.js';
import { checkpointOf, JOURNAL_NAME } from '../../src/writer/journal-checkpoint.js';
import { FRAME_HEADER_BYTES, frameBytesOf, decodeFrame, sealFrame } from '../../src/writer/journal-frame.js';
import { decodeRecords } from '../../src/writer/journal-decoder.js';
import {
  encodeRecord,
  recordBytesMax,
  RecordType,
  type JournalRecord,
} from '../../src/writer/journal-record.js';
import { Journal } from '../../src/writer/journal.js';
import { JournalError } from '../../src/writer/staging-error.js';
import { ForgetfulFolder } from '../fixtures/forgetful-folder.js';
import { seededBytes } from '../fixtures/seeded.js';

const PENDING = {
  encryption: null,
  timeoutMinutes: 60,
  clientToken: 'token',
  parentSnapshotId: null,
  snapshotId: 'snap-0123456789abcdef0',
  startedMs: 5,
  encrypted: true,
  completing: { blockCount: 3, checksum: 'abc=' },
  description: 'é',
  tags: { a: 'b' },
};

const RECORDS: readonly [string, JournalRecord][] = [
  ['02000000000007000000000009', { type: RecordType.Write, start: 7, count: 9 }],
  ['031fffffffffff000000000001', { type: RecordType.Clear, start: 0x1fffffffffff, count: 1 }],
  ['04000000010000000200000003', { type: RecordType.Owe, layerId: 1, startBlock: 2, endBlock: 3 }],
  [
    `050000000107ffffff${'ab'.repeat(32)}`,
    { type: RecordType.Put, layerId: 1, block: 0x7ffffff, digest: Buffer.alloc(32, 0xab) },
  ],
  [
    '0900000001000000020000000a03',
    { type: RecordType.Blocks, layerId: 1, startBlock: 2, endBlock: 10, state: 3 },
  ],
  [
    `0a000000010000000200${'00000005'.repeat(8)}`,
    { type: RecordType.Detail, layerId: 1, block: 2, fine: false, words: new Uint32Array(8).fill(5) },
  ],
  ['0b', { type: RecordType.CheckpointEnd }],
  ['0c0000000004d2', { type: RecordType.Flushed, dateMs: 1234 }],
  [
    `0d000000000007000000000001${'ab'.repeat(512)}`,
    { type: RecordType.Data, start: 7, count: 1, bytes: Buffer.alloc(512, 0xab) },
  ],
  ['0e', { type: RecordType.Synced }],
  ['0f00000000000700000000000902', { type: RecordType.Restore, start: 7, count: 9, state: 2 }],
];

function bytesOf(record: JournalRecord): Buffer {
  const bytes = Buffer.alloc(3 + recordBytesMax(record));
  return bytes.subarray(3, encodeRecord(record, bytes, 3));
}

function encodeFrame(fileId: number, frameNumber: number, payload: Uint8Array): Buffer {
  const room = Buffer.alloc(frameBytesOf(payload.length) + 512, 0xee);
  room.set(payload, FRAME_HEADER_BYTES);
  return sealFrame(room, fileId, frameNumber, payload.length);
}

t.test('[journal: records] are written and read as the table says', async (t) => {
  for (const [hex, record] of RECORDS) {
    t.equal(bytesOf(record).toString('hex'), hex);
    const [decoded] = decodeRecords(Buffer.from(hex, 'hex'));
    t.strictSame(plain(decoded!), plain(record));
  }
  const texts: readonly JournalRecord[] = [
    {
      type: RecordType.Layer,
      layerId: 3,
      wishes: { description: 'd', tags: {}, encryption: null, timeoutMinutes: 60 },
    },
    { type: RecordType.Pending, layerId: 3, pending: PENDING },
    { type: RecordType.Committed, commit: { snapshotId: 'snap-1', dateMs: 4 } },
  ];
  const all = Buffer.concat(texts.map(bytesOf));
  t.strictSame([...decodeRecords(all)], texts);
  for (let end = 1; end < all.length; end += 1) {
    try {
      t.ok([...decodeRecords(all.subarray(0, end))].length < texts.length);
    } catch (error) {
      t.ok(error instanceof RangeError, `cut at ${end}`);
    }
  }
  t.throws(() => [...decodeRecords(Buffer.of(99))], RangeError);
});

t.test('[journal: frames] are whole or nothing', async (t) => {
  const payload = seededBytes('frame', 700);
  const frame = encodeFrame(7, 8, payload);
  t.equal(frame.length, 1024);
  t.match(decodeFrame(frame, 0), { fileId: 7, frameNumber: 8, end: 1024 });
  t.ok(decodeFrame(frame, 0)?.payload.equals(payload));
  for (let index = 0; index < 24 + payload.length; index += 1) {
    const damaged = Buffer.from(frame);
    damaged[index]! ^= 0x10;
    // Two bytes are reserved, and checked as well.
    if (decodeFrame(damaged, 0) !== undefined) t.fail(`byte ${index} may be anything`);
  }
  for (let end = 0; end < 24 + payload.length; end += 1) {
    if (decodeFrame(frame.subarray(0, end), 0) !== undefined) t.fail(`a frame cut at ${end}`);
  }
});

t.test('[journal: frames] hold as many records as fit, in memory that is used again', async (t) => {
  const writer = new FrameWriter();
  for (const count of [1, 300, 5, 2500]) {
    const records = Array.from({ length: count }, (_, index): JournalRecord => ({
      type: RecordType.Data,
      start: index,
      count: 2,
      bytes: seededBytes(`record ${index}`, 1024),
    }));
    const decoded: JournalRecord[] = [];
    let frameNumber = 4;
    for (const frame of writer.frames(records, 9, 4)) {
      const { payload, ...found } = decodeFrame(frame, 0)!;
      t.match(found, { fileId: 9, frameNumber, end: frame.length });
      for (const record of decodeRecords(Buffer.from(payload))) decoded.push(record);
      frameNumber += 1;
    }
    t.equal(decoded.length, count);
    t.ok(decoded.every((record, index) => Buffer.compare(bytesOf(record), bytesOf(records[index]!)) === 0));
  }
  const huge = { type: RecordType.Data, start: 0, count: 4096, bytes: Buffer.alloc(2 ** 21) };
  t.throws(() => [...writer.frames([huge], 9, 0)], /a journal record of/);
});

const ORIGIN = {
  version: 1,
  name: 'x',
  sizeBytes: 2 ** 30,
  originSnapshotId: null,
  createdMs: 0,
  encrypted: false,
  kmsKeyArn: null,
};

async function journalOf(appends: number): Promise<{ folder: ForgetfulFolder; ends: number[] }> {
  const folder = new ForgetfulFolder();
  const journal = await Journal.create(folder, [{ type: RecordType.Origin, origin: ORIGIN }]);
  const ends = [journal.sizeBytes];
  for (let index = 0; index < appends; index += 1) {
    await journal.append([{ type: RecordType.Write, start: index, count: 1 }]);
    ends.push(journal.sizeBytes);
  }
  await journal.close();
  return { folder, ends };
}

async function writesIn(folder: ForgetfulFolder): Promise<number[]> {
  const starts: number[] = [];
  await Journal.inspect(folder, (record) => {
    if (record.type === RecordType.Write) starts.push(record.start);
  });
  return starts;
}

t.test('cut at every byte, it ends with the last whole frame', async (t) => {
  const { folder, ends } = await journalOf(4);
  const bytes = Buffer.from(folder.bytesOf(JOURNAL_NAME));
  // The padding of a frame may be missing.
  for (let end = 0; end <= ends.at(-1)!; end += 1) {
    const cut = folder.withFile(JOURNAL_NAME, bytes.subarray(0, end));
    try {
      const starts = await writesIn(cut);
      if (starts.length > 4 || starts.some((start, index) => start !== index))
        t.fail(`cut at ${end}: ${starts.join()}`);
      if (starts.length < ends.filter((frameEnd) => frameEnd <= end).length - 1)
        t.fail(`cut at ${end}: too few`);
    } catch (error) {
      if (!(error instanceof JournalError) || end >= ends[0]!) t.fail(`cut at ${end}: ${String(error)}`);
    }
  }
});

t.test('goes on after a torn end', async (t) => {
  const { folder, ends } = await journalOf(3);
  const bytes = Buffer.from(folder.bytesOf(JOURNAL_NAME));
  bytes[ends[2]! + 30]! ^= 1;
  const torn = folder.withFile(JOURNAL_NAME, bytes);
  t.strictSame(await writesIn(torn), [0, 1]);
  const journal = await Journal.open(torn, () => undefined);
  await journal.append([{ type: RecordType.Write, start: 77, count: 1 }]);
  await journal.append([{ type: RecordType.Write, start: 78, count: 1 }]);
  t.strictSame(await writesIn(torn), [0, 1, 77, 78]);
});

t.test('damaged in the middle, it is refused with what to do, and not changed', async (t) => {
  const { folder, ends } = await journalOf(4);
  const before = Buffer.from(folder.bytesOf(JOURNAL_NAME));
  for (let at = 0; at < ends[3]!; at += 97) {
    const bytes = Buffer.from(before);
    const frameStart = ends.findLast((end) => end <= at) ?? 0;
    const target = frameStart + (at % 36);
    bytes[target]! ^= 0x40;
    const damaged = folder.withFile(JOURNAL_NAME, bytes);
    await t.rejects(
      writesIn(damaged),
      { name: 'JournalError', message: /damaged.*discard/ },
      `byte ${target}`,
    );
    t.ok(damaged.bytesOf(JOURNAL_NAME).equals(bytes));
  }
});

t.test('of another version, it is refused', async (t) => {
  const folder = new ForgetfulFolder();
  const journal = await Journal.create(folder, []);
  await journal.append([{ type: RecordType.Write, start: 1, count: 1 }]);
  const bytes = Buffer.from(folder.bytesOf(JOURNAL_NAME));
  const fileId = bytes.readUInt32BE(4);
  encodeFrame(fileId, 1, Buffer.of(200, 1, 2)).copy(bytes, 512);
  await t.rejects(writesIn(folder.withFile(JOURNAL_NAME, bytes)), /does not know/);
});

t.test('written anew, it says the same', async (t) => {
  const { folder } = await journalOf(3);
  const journal = await Journal.open(folder, () => undefined);
  await journal.compact(
    checkpointOf([
      { type: RecordType.Origin, origin: ORIGIN },
      { type: RecordType.Write, start: 9, count: 1 },
    ]),
  );
  await journal.append([{ type: RecordType.Write, start: 10, count: 1 }]);
  t.strictSame(await writesIn(folder), [9, 10]);
  folder.faults.capacityBytes = 0;
  await t.rejects(journal.compact(checkpointOf([])), { code: 'ENOSPC' });
  folder.faults.capacityBytes = Number.POSITIVE_INFINITY;
  await journal.append([{ type: RecordType.Write, start: 11, count: 1 }]);
  t.strictSame(await writesIn(folder), [9, 10, 11], 'the old one goes on where there was no room');
});

function plain(record: JournalRecord): unknown {
  return JSON.parse(
    JSON.stringify(record, (_, value: unknown) =>
      ArrayBuffer.isView(value) ? Array.from(value as Uint8Array) : value,
    ),
  );
}
