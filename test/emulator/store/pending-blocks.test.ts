import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { RECORD_BYTES } from '../../../src/emulator/store/block-records.js';
import { PendingBlocks } from '../../../src/emulator/store/pending-blocks.js';
import { numberedBlock } from '../../fixtures/emulator-folder.js';
import { workFolder } from '../../fixtures/work-folder.js';

const BLOCK_BYTES = 524_288;

async function put(blocks: PendingBlocks, blockIndex: number, n: number): Promise<void> {
  const { bytes, digest } = numberedBlock(n);
  await blocks.put({ blockIndex, bytes: n === 0 ? undefined : bytes, digest, putAtMs: 1000 + n });
}

/** Block index and number of everything that is there. */
async function contents(blocks: PendingBlocks): Promise<Record<number, number>> {
  const found: Record<number, number> = {};
  for (const pageIndex of blocks.pageIndexes()) {
    for await (const { blockIndex, record } of blocks.recordsOf(pageIndex)) {
      const n = [0, 1, 2, 3, 4].find((number) => numberedBlock(number).digest.equals(record.digest));
      found[blockIndex] = n ?? -1;
    }
  }
  return found;
}

t.test('what was put is there after opening again', async (t) => {
  const folder = workFolder(t);
  let blocks = await PendingBlocks.open(folder);
  await put(blocks, 5, 1);
  await put(blocks, 4000, 2);
  await put(blocks, 5, 3);
  await put(blocks, 6, 0);
  for (let round = 0; round < 2; round++) {
    t.strictSame(await contents(blocks), { 5: 3, 6: 0, 4000: 2 });
    t.equal(blocks.count, 3);
    t.equal(blocks.lastPutMs, 1003);
    await blocks.close();
    blocks = await PendingBlocks.open(folder);
  }
  await blocks.close();
});

t.test('putting one block over and over takes bounded space', async (t) => {
  const folder = workFolder(t);
  const blocks = await PendingBlocks.open(folder);
  for (let round = 0; round < 20; round++) await put(blocks, 9, 1 + (round % 4));
  await Promise.all(Array.from({ length: 6 }, (_, at) => put(blocks, 9, 1 + (at % 4))));
  t.strictSame(await contents(blocks), { 9: 2 }, 'the last one called holds');
  t.equal(blocks.count, 1);
  t.ok(statSync(join(folder, 'blocks')).size <= 2 * BLOCK_BYTES, 'two slots in turn');
  await blocks.close();
});

t.test('zeros take no space', async (t) => {
  const folder = workFolder(t);
  const blocks = await PendingBlocks.open(folder);
  for (let index = 0; index < 50; index++) await put(blocks, index, 0);
  t.equal(statSync(join(folder, 'blocks')).size, 0);
  t.equal(blocks.count, 50);
  await blocks.close();
});

t.test('records cut at every byte: whole ones hold, a torn one is none', async (t) => {
  const folder = workFolder(t);
  const whole = await PendingBlocks.open(folder);
  await put(whole, 1, 1);
  await put(whole, 2, 2);
  await put(whole, 1, 3);
  await whole.close();
  const records = readFileSync(join(folder, 'records'));
  t.equal(records.length, 3 * RECORD_BYTES);
  const expected = [{}, { 1: 1 }, { 1: 1, 2: 2 }, { 1: 3, 2: 2 }];
  for (let length = records.length; length >= 0; length--) {
    writeFileSync(join(folder, 'records'), records.subarray(0, length));
    const blocks = await PendingBlocks.open(folder);
    const found = await contents(blocks);
    await blocks.close();
    if (JSON.stringify(found) !== JSON.stringify(expected[Math.floor(length / RECORD_BYTES)]))
      t.fail(`cut to ${length} bytes`, { found });
  }
});

t.test('a put that is torn before its record is written leaves the block as it was', async (t) => {
  const folder = workFolder(t);
  let blocks = await PendingBlocks.open(folder);
  await put(blocks, 1, 1);
  await put(blocks, 1, 2);
  const before = readFileSync(join(folder, 'records'));
  await put(blocks, 1, 3);
  await blocks.close();
  // As if the process had been killed between the block and its record, then as if in the middle of the record.
  for (const kept of [0, 10, 40]) {
    const after = readFileSync(join(folder, 'records'));
    const torn = Buffer.from(before);
    after.copy(torn, 0, 0, kept);
    writeFileSync(join(folder, 'records'), torn);
    blocks = await PendingBlocks.open(folder);
    t.strictSame(await contents(blocks), { 1: 2 });
    await blocks.close();
    writeFileSync(join(folder, 'records'), after);
  }
});
