import t from 'tap';
import { TokenMap, type TokenMapOptions } from '../../src/snapshot/token-map.js';
import { TokenMemory } from '../../src/snapshot/token-memory.js';
import { Limiter } from '../../src/util/limiter.js';
import { FakeSnapshot } from '../fixtures/fake-snapshot.js';
import { ManualClock, settle } from '../fixtures/manual-clock.js';

function open(api: FakeSnapshot, options: Partial<TokenMapOptions> = {}): Promise<TokenMap> {
  const signal = new AbortController().signal;
  const limiter = new Limiter(8);
  return TokenMap.open({
    api,
    snapshotId: 'snap-1',
    limiter,
    clock: new ManualClock(),
    memory: new TokenMemory(),
    signal,
    ...options,
  });
}

/** A full volume of 64 TiB, whose blocks are not kept anywhere. */
function fullVolume(): FakeSnapshot {
  const listed = new Proxy([] as number[], {
    get: (target, key) => {
      if (key === 'length') return 2 ** 27;
      if (key === 'slice') {
        return (from: number, end: number) =>
          Array.from({ length: Math.min(end, 2 ** 27) - from }, (_, at) => from + at);
      }
      const index = typeof key === 'string' ? Number(key) : Number.NaN;
      if (Number.isInteger(index)) return index < 2 ** 27 ? index : undefined;
      return Reflect.get(target, key) as unknown;
    },
  });
  return new FakeSnapshot({ listed, volumeSizeGib: 65_536 });
}

t.test('lookups in the same region share one list call', async (t) => {
  const api = fullVolume();
  const map = await open(api);
  api.hook = () => settle();
  const near = 50_000_000;
  await Promise.all(Array.from({ length: 100 }, (_, at) => map.tokenOf(near + at)));
  t.equal(api.lists.length, 2);
  await Promise.all(Array.from({ length: 100 }, (_, at) => map.tokenOf(near + at)));
  t.equal(api.lists.length, 2);
});

t.test('random lookups all over 64 TiB: short pages, and bounded memory', async (t) => {
  const api = fullVolume();
  const map = await open(api, { memory: new TokenMemory(1_000_000) });
  const first = api.lists[0]!;
  t.equal(first.resultsMax, 2427, 'as many as find room in a quarter of it');
  let index = 1;
  for (let lookup = 0; lookup < 500; lookup += 1) {
    index = (index * 48_271) % (2 ** 27 - 1);
    t.equal((await map.tokenOf(index))?.split(':')[1], String(index));
    if (map.sizeBytes > 1_000_000) t.fail(`${map.sizeBytes} bytes`);
  }
  t.ok(api.lists.slice(1).every(({ resultsMax }) => resultsMax === 100));
  t.ok(map.sizeBytes > 900_000);
});

t.test('a stream through a full volume lists each part once', async (t) => {
  const api = fullVolume();
  const map = await open(api);
  const start = 80_000_000;
  for (let index = start; index < start + 60_000; index += 1) await map.tokenOf(index);
  t.ok(api.lists.length <= 1 + 3 + 7, `${api.lists.length} calls`);
  const listed = api.lists.slice(1).reduce((sum, { resultsMax }) => sum + resultsMax, 0);
  t.ok(listed < 75_000, `${listed} results`);
});

t.test('a lookup that fails fails alone, and is made again', async (t) => {
  const api = fullVolume();
  const map = await open(api);
  let failing = true;
  api.hook = async () => {
    await settle();
    if (failing) throw new Error('no');
  };
  const lookups = [map.tokenOf(50_000_000), map.tokenOf(50_000_001)];
  for (const lookup of lookups) await t.rejects(lookup, { message: 'no' });
  t.equal(api.lists.length, 2, 'shared');
  failing = false;
  t.ok(await map.tokenOf(50_000_000));
});
