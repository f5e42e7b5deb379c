import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import { PendingBlocks } from '../../../src/emulator/store/pending-blocks.js';
import { systemClock } from '../../../src/util/clock.js';
import { begin, contentsOf, finish, numberedBlock, openFolder, put } from '../../fixtures/emulator-folder.js';
import { MemoryLog } from '../../fixtures/memory-log.js';
import { workFolder } from '../../fixtures/work-folder.js';

t.test('a put that finds no space fails, and leaves what was there', async (t) => {
  const folder = workFolder(t);
  symlinkSync('/dev/full', join(folder, 'blocks'));
  const blocks = await PendingBlocks.open(folder);
  const { bytes, digest } = numberedBlock(1);
  await blocks.put({ blockIndex: 3, bytes: undefined, digest: numberedBlock(0).digest, putAtMs: 1 });
  await t.rejects(blocks.put({ blockIndex: 3, bytes, digest, putAtMs: 2 }), { code: 'ENOSPC' });
  t.equal(blocks.count, 1);
  for await (const { record } of blocks.recordsOf(0)) t.ok(record.isZero);
  await blocks.close();
});

t.test('a completion that cannot write leaves the snapshot pending, and is tried again', async (t) => {
  const dir = workFolder(t);
  const log = new MemoryLog();
  const folder = await openFolder(dir, systemClock, log);
  t.teardown(() => folder.close());
  const { snapshotId } = await begin(folder, 1);
  await put(folder, snapshotId, 5, 1);
  const inTheWay = join(dir, 'snapshots', snapshotId, 'index.new');
  mkdirSync(inTheWay);
  const completion = { changedBlocksCount: 1, checksum: null };
  t.equal(await folder.registry.complete(snapshotId, completion), 'pending');
  while (log.at('error').length === 0) await setImmediate();
  t.match(log.lines, [{ message: 'Cannot complete a snapshot', fields: { snapshotId } }]);
  t.equal(await folder.registry.complete(snapshotId, completion), 'pending');
  rmSync(inTheWay, { recursive: true });
  t.equal(await finish(folder, snapshotId, 1), 'completed');
  t.strictSame([...(await contentsOf(folder, snapshotId))], [[5, 1]]);
});
