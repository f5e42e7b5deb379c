import t from 'tap';
import { BLOCK_BYTES } from '../../src/ebs/constants.js';
import { BlockCache, ZERO_BLOCK } from '../../src/snapshot/block-cache.js';

const block = (fill: number): Buffer => Buffer.alloc(BLOCK_BYTES, fill);

t.test('bounded in bytes, the least recently used go first', async (t) => {
  const cache = new BlockCache(3 * BLOCK_BYTES + 1000);
  const blocks = cache.of('snap-1');
  for (const index of [1, 2, 3]) blocks.set(index, block(index));
  blocks.get(1);
  t.ok(blocks.has(2), 'which is not a use');
  blocks.set(4, block(4));
  t.same(
    [1, 2, 3, 4].map((index) => blocks.has(index)),
    [true, false, true, true],
  );
  t.equal(cache.sizeBytes, 3 * BLOCK_BYTES);
  t.equal(cache.blockCount, 3);
  cache.clear();
  t.equal(cache.blockCount, 0);
});

t.test('keys are exact: the last block of a volume is not the first one of the next snapshot', async (t) => {
  const cache = new BlockCache(100 * BLOCK_BYTES);
  const ids = Array.from({ length: 30 }, (_, at) => `snap-${at}`);
  for (const id of ids) cache.of(id).set(2 ** 27 - 1, ZERO_BLOCK);
  for (const id of ids) {
    t.equal(cache.of(id).get(0), undefined);
    t.equal(cache.of(id).get(2 ** 27 - 1), ZERO_BLOCK);
  }
  t.equal(cache.of('snap-7').get(2 ** 27 - 1), ZERO_BLOCK, 'whoever opens it again shares what is there');
});

t.test('a cache smaller than a block keeps none, and zeros still', async (t) => {
  const blocks = new BlockCache(BLOCK_BYTES - 1).of('snap-1');
  blocks.set(1, block(1));
  blocks.set(2, ZERO_BLOCK);
  t.equal(blocks.get(1), undefined);
  t.equal(blocks.get(2), ZERO_BLOCK);
});

t.test('no cache at all', async (t) => {
  for (const bytesMax of [0, 0.5]) {
    const cache = new BlockCache(bytesMax);
    const blocks = cache.of('snap-1');
    blocks.set(1, block(1));
    blocks.set(2, ZERO_BLOCK);
    t.equal(blocks.get(2), undefined);
    t.notOk(blocks.has(1));
    t.equal(cache.sizeBytes, 0);
    t.equal(cache.blockCount, 0);
    cache.clear();
  }
});
