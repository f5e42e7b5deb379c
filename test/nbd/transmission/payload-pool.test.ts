import t from 'tap';
import { PayloadPool } from '../../../src/nbd/transmission/payload-pool.js';
import { KIB, MIB } from '../../../src/util/units.js';

t.test('a buffer that is given back is used again', async (t) => {
  const pool = new PayloadPool();
  const first = pool.take(100 * KIB);
  t.equal(first.length, 100 * KIB);
  const second = pool.take(100 * KIB);
  t.not(second.buffer, first.buffer, 'never while it is lent');
  pool.give(first);
  const third = pool.take(128 * KIB);
  t.equal(third.buffer, first.buffer);
  t.equal(third.length, 128 * KIB);
});

t.test('is given back once, and by those who had it from here', async (t) => {
  const pool = new PayloadPool();
  const mine = pool.take(64 * KIB);
  pool.give(mine);
  pool.give(mine);
  pool.give(Buffer.alloc(64 * KIB));
  t.equal(pool.take(64 * KIB).buffer, mine.buffer);
  t.not(pool.take(64 * KIB).buffer, mine.buffer);
});

t.test('keeps neither the smallest, nor the largest, nor more than its bound', async (t) => {
  const pool = new PayloadPool();
  for (const lengthBytes of [0, 1, 64 * KIB - 1, 4 * MIB + 1]) {
    const buffer = pool.take(lengthBytes);
    t.equal(buffer.length, lengthBytes);
    pool.give(buffer);
    if (lengthBytes > 0) t.not(pool.take(lengthBytes).buffer, buffer.buffer);
  }
  const many = Array.from({ length: 12 }, () => pool.take(4 * MIB));
  for (const buffer of many) pool.give(buffer);
  const known = new Set(many.map(({ buffer }) => buffer));
  const again = Array.from({ length: 12 }, () => pool.take(4 * MIB));
  t.equal(again.filter(({ buffer }) => known.has(buffer)).length, 8);
});
