import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { BlockBuffers } from '../../src/ebs/block-buffers.js';
import { BLOCK_BYTES } from '../../src/ebs/constants.js';
import { Lease } from '../../src/util/lease.js';

t.test('a buffer is used again when its owner has dropped it and all leases have ended', async (t) => {
  const buffers = new BlockBuffers();
  const buffer = buffers.take();
  t.equal(buffer.length, BLOCK_BYTES);
  const leases = [new Lease(), new Lease()] as const;
  buffers.lend(buffer, leases[0]);
  buffers.lend(buffer.subarray(10, 20), leases[1]);
  leases[0].end();
  leases[0].end();
  buffers.drop(buffer);
  await nextTurn();
  t.not(buffers.take().buffer, buffer.buffer, 'a lease of a view of it is left');
  leases[1].end();
  t.not(buffers.take().buffer, buffer.buffer, 'not in the same turn');
  await nextTurn();
  t.equal(buffers.take().buffer, buffer.buffer);
  t.not(buffers.take().buffer, buffer.buffer, 'and not twice');
});

t.test('not without being dropped, nor when anybody had it without a lease', async (t) => {
  const buffers = new BlockBuffers();
  const owned = buffers.take();
  const lease = new Lease();
  buffers.lend(owned, lease);
  lease.end();
  const loose = buffers.take();
  buffers.lend(loose, undefined);
  const both = new Lease();
  buffers.lend(loose, both);
  both.end();
  buffers.drop(loose);
  await nextTurn();
  for (let round = 0; round < 2; round += 1) {
    const { buffer } = buffers.take();
    t.notOk(buffer === owned.buffer || buffer === loose.buffer);
  }
});

t.test('whoever has it again in the same turn keeps it', async (t) => {
  const buffers = new BlockBuffers();
  const unused: string[] = [];
  const kept = buffers.take();
  buffers.keep(kept, () => unused.push('kept'));
  buffers.drop(kept);
  buffers.keep(kept, () => unused.push('kept again'));
  const lent = buffers.take();
  buffers.drop(lent);
  const lease = new Lease();
  buffers.lend(lent, lease);
  await nextTurn();
  for (let round = 0; round < 2; round += 1) {
    const { buffer } = buffers.take();
    t.notOk(buffer === kept.buffer || buffer === lent.buffer);
  }
  buffers.drop(kept);
  t.same(unused, ['kept', 'kept again']);
  lease.end();
  await nextTurn();
  t.same(new Set([buffers.take().buffer, buffers.take().buffer]), new Set([kept.buffer, lent.buffer]));
});

t.test('so many wait at most; memory from elsewhere never does', async (t) => {
  const buffers = new BlockBuffers(2 * BLOCK_BYTES);
  const dropped = [buffers.take(), buffers.take(), buffers.take(), Buffer.alloc(BLOCK_BYTES)];
  for (const buffer of dropped) buffers.drop(buffer);
  await nextTurn();
  const known = new Set(dropped.map(({ buffer }) => buffer));
  const taken = [buffers.take(), buffers.take(), buffers.take(), buffers.take()];
  t.equal(taken.filter(({ buffer }) => known.has(buffer)).length, 2);
  const foreign = dropped[3]!;
  buffers.lend(foreign, undefined);
  buffers.keep(foreign, () => t.fail('it is not known here'));
  buffers.drop(foreign);
});

t.test('to use one that waits is a defect, and not done', async (t) => {
  const buffers = new BlockBuffers();
  const buffer = buffers.take();
  buffers.drop(buffer);
  await nextTurn();
  t.throws(() => buffers.lend(buffer, new Lease()));
  t.throws(() => buffers.keep(buffer, () => undefined));
  t.throws(() => buffers.drop(buffer));
});
