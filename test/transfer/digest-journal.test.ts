import { openSync, readFileSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DigestJournal } from '../../src/transfer/digest-journal.js';
import {
  BlockFate,
  decodeState,
  encodeState,
  SLOT_BYTES,
  SLOTS_OFFSET,
  STATE_BYTES,
  type BlockRecord,
} from '../../src/transfer/journal-layout.js';
import { sha256 } from '../fixtures/ebs-emulator.js';
import { writeInParts } from '../fixtures/partial-writes.js';
import { workFolder } from '../fixtures/work-folder.js';

function recordOf(blockIndex: number, fate: BlockFate = BlockFate.Moved): BlockRecord {
  return { blockIndex, fate, checksum: sha256(Buffer.from(`block ${blockIndex}`)) };
}

async function recordsOf(journal: DigestJournal): Promise<BlockRecord[]> {
  const found: BlockRecord[] = [];
  for await (const record of journal.records('all runs')) found.push(record);
  return found;
}

/** A journal of three blocks that an earlier run has left, far apart and not in their order. */
async function leftBehind(t: Test): Promise<string> {
  const path = join(workFolder(t), 'journal');
  const journal = await DigestJournal.open(path);
  await journal.restart({ of: 'a test' });
  journal.note(recordOf(9000));
  journal.note(recordOf(3, BlockFate.Inherited));
  journal.note(recordOf(4));
  await journal.close();
  return path;
}

t.test('what was noted is there for the next run, in the order of the disk', async (t) => {
  const path = await leftBehind(t);
  t.equal(statSync(path).mode & 0o777, 0o600);
  const journal = await DigestJournal.open(path);
  t.strictSame(journal.state, { of: 'a test' });
  t.strictSame(await recordsOf(journal), [recordOf(3, BlockFate.Inherited), recordOf(4), recordOf(9000)]);
  t.strictSame(await journal.prior(9000), recordOf(9000));
  t.equal(await journal.prior(5), undefined);
  t.equal(await journal.prior(1e9), undefined);
  journal.note(recordOf(5));
  t.equal(await journal.prior(9001), undefined, 'of this run');
  await journal.restart({ of: 'another' });
  t.strictSame(await recordsOf(journal), []);
  t.equal(await journal.prior(4), undefined);
  await journal.remove();
  t.throws(() => statSync(path), { code: 'ENOENT' });
});

t.test('a state of which the disk takes parts is there as a whole', async (t) => {
  const path = await leftBehind(t);
  await writeInParts(t, path);
  const journal = await DigestJournal.open(path);
  await journal.setState({ of: 'a longer test' });
  await journal.close();
  const again = await DigestJournal.open(path);
  t.strictSame(again.state, { of: 'a longer test' });
  await again.close();
});

t.test('a slot with any byte changed, or cut, is no record', async (t) => {
  const path = await leftBehind(t);
  const whole = readFileSync(path);
  const at = SLOTS_OFFSET + 4 * SLOT_BYTES;
  for (let offset = 0; offset < SLOT_BYTES; offset += 1) {
    const file = openSync(path, 'r+');
    writeSync(file, Buffer.of((whole[at + offset] ?? 0) ^ 0x10), 0, 1, at + offset);
    const journal = await DigestJournal.open(path);
    t.equal(await journal.prior(4), undefined, `byte ${offset}`);
    t.strictSame(await journal.prior(3), recordOf(3, BlockFate.Inherited), 'the one before it is');
    await journal.close();
    writeSync(file, whole, at + offset, 1, at + offset);
  }
  // A record in the place of another block.
  const file = openSync(path, 'r+');
  writeSync(file, whole, at, SLOT_BYTES, at + SLOT_BYTES);
  truncateSync(path, SLOTS_OFFSET + 9000 * SLOT_BYTES + 10);
  const journal = await DigestJournal.open(path);
  t.strictSame(await recordsOf(journal), [recordOf(3, BlockFate.Inherited), recordOf(4)]);
  await journal.close();
});

t.test('of two copies of the state the newer one that is whole counts', async (t) => {
  const path = join(workFolder(t), 'journal');
  const journal = await DigestJournal.open(path);
  await journal.restart({ step: 1 });
  await journal.setState({ step: 2, long: 'x'.repeat(20_000) });
  await journal.close();
  const newer = readFileSync(path);
  const newerAt = decodeState(newer.subarray(0, STATE_BYTES))?.sequence === 2 ? 0 : STATE_BYTES;
  newer[newerAt + 100] = 0;
  writeFileSync(path, newer);
  const again = await DigestJournal.open(path);
  t.strictSame(again.state, { step: 1 });
  await again.close();
});

t.test('a state of another version, of nothing and of noise is none', async (t) => {
  const bytes = encodeState({ sequence: 1, nonce: 2, json: {} });
  t.strictSame(decodeState(bytes)?.json, {});
  for (let length = 0; length < bytes.length; length += 1)
    t.equal(decodeState(bytes.subarray(0, length)), undefined);
  bytes.writeUInt16LE(2, 8);
  t.equal(decodeState(bytes), undefined);
  const path = join(workFolder(t), 'journal');
  writeFileSync(path, Buffer.alloc(SLOTS_OFFSET + 400, 0xa5));
  const journal = await DigestJournal.open(path);
  t.equal(journal.state, undefined);
  t.strictSame(await recordsOf(journal), []);
  await journal.close();
});

t.test('one line where it cannot be kept', async (t) => {
  const file = join(workFolder(t), 'file');
  writeFileSync(file, '');
  await t.rejects(DigestJournal.open(join(file, 'journal')), {
    message: /^Cannot open the journal .*--state-dir/,
  });
});
