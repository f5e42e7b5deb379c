import t from 'tap';
import { ExportRegistry } from '../../src/app/export-registry.js';
import type { BlockDevice } from '../../src/device/block-device.js';
import { ExportRefusedError } from '../../src/nbd/export-table.js';
import { MemoryLog } from '../fixtures/memory-log.js';
import { AssertionError } from '../../src/util/assert.js';

function device(description?: string): BlockDevice & { closed: number } {
  return {
    sizeBytes: 512,
    closed: 0,
    ...(description === undefined ? {} : { description }),
    read: () => [{ zeroBytes: 512 }],
    close() {
      this.closed += 1;
    },
  };
}

t.test('the first export is the default one', async (t) => {
  const [a, b] = [device('a disk'), device()];
  const registry = new ExportRegistry([
    { name: 'a', device: a },
    { name: 'b', device: b },
  ]);
  t.strictSame(registry.list(), [{ name: 'a', description: 'a disk' }, { name: 'b' }]);
  const byDefault = await registry.acquire('');
  t.equal(byDefault.name, 'a');
  t.equal(byDefault.device, a);
  const byName = await registry.acquire('b');
  t.equal(byName.device, b);
  t.equal(registry.leaseCount, 2);
  byName.release();
  t.throws(() => byName.release(), AssertionError);
  byDefault.release();
  t.equal(registry.leaseCount, 0);
  await t.rejects(registry.acquire('c'), ExportRefusedError);
  await registry.close();
  t.strictSame([a.closed, b.closed], [1, 1]);
});

t.test('no exports, empty names and doubles are defects of the caller', async (t) => {
  t.throws(() => new ExportRegistry([]), AssertionError);
  t.throws(() => new ExportRegistry([{ name: '', device: device() }]), AssertionError);
  t.throws(
    () =>
      new ExportRegistry([
        { name: 'a', device: device() },
        { name: 'a', device: device() },
      ]),
    AssertionError,
  );
});

t.test('exports are replaced: the same go on, others keep the clients that they have', async (t) => {
  const [a, b, shared] = [device(), device(), device()];
  const kept = { name: 'kept', device: a };
  const registry = new ExportRegistry([
    kept,
    { name: 'gone', device: b },
    { name: 'one', device: shared },
    { name: 'two', device: shared },
  ]);
  const onKept = await registry.acquire('kept');
  const onGone = await registry.acquire('gone');
  const next = device();
  await registry.replace([{ name: 'gone', device: next }, kept, { name: 'two', device: shared }]);
  t.strictSame(
    registry.exports.map(({ name }) => name),
    ['gone', 'kept', 'two'],
  );
  const byDefault = await registry.acquire('');
  t.equal(byDefault.device, next, 'the first is the default one now');
  byDefault.release();
  t.equal(registry.userCountOf('kept'), 1);
  t.equal(onGone.device, b);
  t.strictSame([b.closed, shared.closed], [0, 0]);
  onGone.release();
  t.equal(b.closed, 1);
  await t.rejects(registry.acquire('one'), ExportRefusedError);
  onKept.release();
  await registry.replace([kept]);
  t.equal(shared.closed, 1);
  await registry.close();
  t.strictSame([a.closed, b.closed, next.closed, shared.closed], [1, 1, 1, 1]);
});

t.test('one that cannot be closed keeps no other open, and ends nothing', async (t) => {
  const [first, last, gone] = [device(), device(), device()];
  const failing = (): Promise<void> => Promise.reject(new Error('no space left'));
  const log = new MemoryLog();
  const supplied = { list: () => Promise.resolve([]), supply: failing as never, opened: [] };
  let hasSupplyEnded = false;
  const supply = {
    ...supplied,
    close: async () => {
      hasSupplyEnded = true;
      await failing();
    },
  };
  const exports = [
    { name: 'gone', device: { ...gone, close: failing } },
    { name: 'first', device: { ...first, close: failing } },
    { name: 'last', device: last },
  ];
  const registry = new ExportRegistry(exports, supply, log);
  const lease = await registry.acquire('gone');
  await registry.replace(exports.slice(1));
  lease.release();
  await new Promise(setImmediate);
  t.match(log.lines, [{ level: 'error', fields: { export: 'gone', error: 'no space left' } }]);
  await t.rejects(registry.close(), { message: 'no space left' });
  t.strictSame([last.closed, hasSupplyEnded], [1, true]);
});
