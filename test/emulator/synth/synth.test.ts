import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { SynthBlocks } from '../../../src/emulator/synth/synth-blocks.js';
import { SynthView } from '../../../src/emulator/synth/synth-view.js';
import { needsPrograms } from '../../fixtures/programs.js';
import { synthBytes } from '../../fixtures/synth-rule.js';
import { workFolder } from '../../fixtures/work-folder.js';

const BLOCK_BYTES = 524_288;

async function listedOf(view: SynthView, pageIndex: number): Promise<number[]> {
  const page = await view.page(pageIndex);
  return Array.from({ length: page?.rowCount ?? 0 }, (_, row) => page!.blockIndexAt(row));
}

t.test('contents follow the rule, to the last block of 64 TiB', async (t) => {
  const blocks = new SynthBlocks();
  for (const [seed, index] of [
    [1, 0],
    [1, 63],
    [1, 64],
    [0xffff_ffff, 134_217_727],
  ] as const) {
    const { body, tail, digest } = blocks.block(seed, index);
    const bytes = Buffer.concat([body, tail]);
    t.equal(bytes.length, BLOCK_BYTES);
    t.ok(bytes.equals(synthBytes(seed, index * BLOCK_BYTES, BLOCK_BYTES)), `seed ${seed}, block ${index}`);
    t.ok(createHash('sha256').update(bytes).digest().equals(digest));
  }
});

t.test('no two of 64 neighbours have the same body, and no two blocks the same contents', async (t) => {
  const blocks = new SynthBlocks();
  const all = Array.from({ length: 192 }, (_, index) => blocks.block(5, index));
  for (const group of [0, 64, 128])
    t.equal(new Set(all.slice(group, group + 64).map(({ body }) => body)).size, 64);
  t.equal(new Set(all.map(({ digest }) => digest.toString('hex'))).size, 192);
  t.notOk(blocks.block(6, 0).digest.equals(all[0]!.digest), 'another seed');
  t.notOk(blocks.block(7, 0).digest.equals(all[0]!.digest));
  t.ok(blocks.block(5, 0).digest.equals(all[0]!.digest), 'also after its bodies were dropped');
});

t.test('the share of listed blocks is exact, page by page and on the whole', async (t) => {
  for (const fill of [0, 0.000_001, 0.013, 0.5, 0.999_999, 1]) {
    const fillPpm = Math.round(fill * 1e6);
    const view = new SynthView('snap-0', 8, { seed: 3, fillPpm });
    let count = 0;
    for (let pageIndex = 0; pageIndex < 8; pageIndex++) {
      const listed = await listedOf(view, pageIndex);
      t.equal(view.pageReference(pageIndex)?.rowCount ?? 0, listed.length);
      t.strictSame(
        listed,
        [...new Set(listed)].sort((a, b) => a - b),
        'ascending, each once',
      );
      t.ok(listed.every((index) => Math.floor(index / 2048) === pageIndex));
      count += listed.length;
    }
    t.equal(count, Math.floor((8 * 2048 * fillPpm) / 1e6), `fill ${fill}`);
    t.equal(view.listedBlockCount, count);
    t.equal(view.pageReference(8), undefined);
  }
});

t.test('the program in docs/EMULATOR.md computes the same', needsPrograms('python3'), async (t) => {
  const text = readFileSync(join(import.meta.dirname, '../../../docs/EMULATOR.md'), 'utf8');
  const program = /```python\n(# synth\.py[\s\S]*?)```/.exec(text)?.[1];
  const path = join(workFolder(t), 'synth.py');
  writeFileSync(path, program!);
  const view = new SynthView('snap-0', 2, { seed: 42, fillPpm: 300_000 });
  const listed = [...(await listedOf(view, 0)), ...(await listedOf(view, 1))];
  const run = (...args: string[]): string =>
    execFileSync('/usr/bin/python3', [path, ...args], { encoding: 'latin1', maxBuffer: 2 ** 24 });
  t.strictSame(run('list', '42', '0.3', '2').trim().split('\n').map(Number), listed);
  const { digest } = new SynthBlocks().block(42, listed.at(-1)!);
  t.equal(run('sha256', '42', String(listed.at(-1))).trim(), digest.toString('hex'));
});
