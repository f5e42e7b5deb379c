import t from 'tap';
import { BLOCK_BYTES, BLOCKS_PER_GIB } from '../../../src/ebs/constants.js';
import { DeviceError } from '../../../src/device/device-error.js';
import type {
  CallOptions,
  ChangedBlock,
  ChangedBlockPage,
  ListChangedBlocksRequest,
} from '../../../src/ebs/snapshot-api.js';
import { changeContextsOf } from '../../../src/snapshot/changed/change-contexts.js';
import { ChangeMap } from '../../../src/snapshot/changed/change-map.js';
import { FailureLog } from '../../../src/snapshot/failure-log.js';
import { TokenMemory } from '../../../src/snapshot/token-memory.js';
import { systemClock } from '../../../src/util/clock.js';
import { Limiter } from '../../../src/util/limiter.js';
import { silentLogger } from '../../../src/util/logger.js';
import { fail, FakeSnapshot } from '../../fixtures/fake-snapshot.js';
import { freshSeed, seededNumbers } from '../../fixtures/seeded.js';

/** A snapshot of a lineage: for each block the put that it is of. */
interface Member {
  readonly sizeGib: number;
  readonly puts: ReadonlyMap<number, number>;
}

/** Blocks that change lie at the beginning, and about the ends of the volumes. */
const PLACES = [0, BLOCKS_PER_GIB - 40, 2 * BLOCKS_PER_GIB - 40] as const;

class Lineage {
  readonly members: Member[] = [];
  readonly #random: (below: number) => number;
  #putCount = 0;

  constructor(random: (below: number) => number) {
    this.#random = random;
    this.#add(undefined);
    // Branches, siblings and generations: any member may have children.
    for (let count = 0; count < 7; count += 1) this.#add(this.members[random(this.members.length)]);
  }

  #add(parent: Member | undefined): void {
    const random = this.#random;
    const sizeGib = parent === undefined ? 1 : Math.min(3, parent.sizeGib + (random(3) === 0 ? 1 : 0));
    const puts = new Map(parent?.puts);
    for (let count = random(60); count > 0; count -= 1) {
      const start = (PLACES[random(3)] ?? 0) + random(60);
      for (let block = start; block < start + 1 + random(4); block += 1) {
        if (block >= sizeGib * BLOCKS_PER_GIB) continue;
        this.#putCount += 1;
        if (random(5) === 0) puts.delete(block);
        else puts.set(block, this.#putCount);
      }
    }
    this.members.push({ sizeGib, puts });
  }
}

/** ListChangedBlocks of two members, in pages that are short, empty, and fail now and then. */
class FakePair extends FakeSnapshot {
  readonly calls: ListChangedBlocksRequest[] = [];
  fails: () => boolean = () => false;
  readonly #candidates: readonly (ChangedBlock | number)[];
  readonly #random: (below: number) => number;
  readonly #sizeGib: number;

  constructor(first: Member, second: Member, random: (below: number) => number) {
    super({ listed: [], volumeSizeGib: first.sizeGib });
    this.#random = random;
    this.#sizeGib = random(2) === 0 ? first.sizeGib : second.sizeGib;
    const candidates = [...new Set([...first.puts.keys(), ...second.puts.keys()])].sort((a, b) => a - b);
    this.#candidates = candidates.map((blockIndex) =>
      first.puts.get(blockIndex) === second.puts.get(blockIndex)
        ? blockIndex
        : {
            blockIndex,
            firstBlockToken: first.puts.has(blockIndex) ? 't' : undefined,
            secondBlockToken: second.puts.has(blockIndex) ? 't' : undefined,
          },
    );
  }

  override async listChangedBlocks(
    request: ListChangedBlocksRequest = { firstSnapshotId: '', secondSnapshotId: '', resultsMax: 100 },
    options: CallOptions = {},
  ): Promise<ChangedBlockPage> {
    this.calls.push(request);
    await new Promise((resolve) => setImmediate(resolve));
    options.signal?.throwIfAborted();
    if (this.fails()) throw fail('server');
    const indexOf = (at: ChangedBlock | number): number => (typeof at === 'number' ? at : at.blockIndex);
    const from =
      request.pageToken === undefined
        ? this.#candidates.findIndex((at) => indexOf(at) >= (request.startingBlockIndex ?? 0))
        : Number(request.pageToken);
    const start = from < 0 ? this.#candidates.length : from;
    const end = start + this.#random(12);
    return {
      blocks: this.#candidates.slice(start, end).filter((at) => typeof at !== 'number'),
      expiryMs: 1,
      volumeSizeGib: this.#sizeGib,
      nextToken: end >= this.#candidates.length ? undefined : String(end),
    };
  }
}

function openMap(api: FakePair, secondSizeGib: number, bytesMax = 32_000): Promise<ChangeMap> {
  const { signal } = new AbortController();
  const ids = { firstSnapshotId: 'snap-old', secondSnapshotId: 'snap-new' };
  const shares = { limiter: new Limiter(4), memory: new TokenMemory(bytesMax) };
  return ChangeMap.open({ ...ids, ...shares, api, secondSizeGib, signal });
}

/** What the model says of a block, in the flags of `ebs:changed:`. */
function modelFlags(first: Member, second: Member, block: number): number {
  const [before, after] = [first.puts.get(block), second.puts.get(block)];
  const isGrown = block >= first.sizeGib * BLOCKS_PER_GIB;
  if (before === after && !isGrown) return 0;
  return 1 | (after === undefined ? 2 : 0) | (before === undefined ? 4 : 0);
}

const OVERLAY_OF = new Map([
  [0, 1],
  [1, 0],
  [5, 0],
  [3, 2],
  [7, 2],
]);

t.test(
  '[ebs: ListChangedBlocks] random lineages, with failures in the middle, against a model',
  async (t) => {
    const seed = freshSeed();
    t.comment(`seed: ${seed}`);
    const random = seededNumbers(seed);
    let failedCount = 0;
    for (let round = 0; round < 40; round += 1) {
      const { members } = new Lineage(random);
      const first = members[random(members.length)]!;
      const second = members[random(members.length)]!;
      const api = new FakePair(first, second, random);
      const map = await openMap(api, second.sizeGib, round % 4 === 0 ? 1 : 32_000);
      api.fails = () => random(6) === 0;
      const contexts = changeContextsOf(map, new FailureLog(silentLogger, systemClock), { hasBitmap: true });
      const sizeBytes = second.sizeGib * BLOCKS_PER_GIB * BLOCK_BYTES;
      for (const [name, source] of contexts) {
        const seen = new Uint8Array(sizeBytes / BLOCK_BYTES);
        for (let at = 0; at < sizeBytes;) {
          const lengthBytes = Math.min(sizeBytes - at, (1 + random(3000)) * BLOCK_BYTES);
          const asking = async (): Promise<void> => {
            for (const extent of await source.extents(at, lengthBytes, { extentsMax: 1 + random(9) })) {
              seen.fill(extent.flags, at / BLOCK_BYTES, (at + extent.lengthBytes) / BLOCK_BYTES);
              at += extent.lengthBytes;
            }
          };
          await asking().catch((error: unknown) => {
            if (!(error instanceof DeviceError && error.errno === 'EIO')) throw error;
            failedCount += 1;
          });
        }
        const wrong = seen.findIndex((flags, block) => {
          const expected = modelFlags(first, second, block);
          if (name.startsWith('qemu:')) return flags !== (expected & 1);
          return flags !== (name.startsWith('ebs:overlay:') ? OVERLAY_OF.get(expected) : expected);
        });
        if (wrong >= 0) t.fail(`round ${round}: ${name} says ${seen[wrong]} of block ${wrong}`);
      }
      map.close();
    }
    t.ok(failedCount > 0, `${failedCount} questions failed, and were asked again`);
  },
);

t.test('lookups that are close share a listing; a failure is not clean', async (t) => {
  const first = { sizeGib: 1, puts: new Map([[9, 1]]) };
  const api = new FakePair(first, { sizeGib: 1, puts: new Map([[9, 2]]) }, (below) => below - 1);
  api.fails = () => api.calls.length === 2;
  const map = await openMap(api, 1, 1);
  t.same(map.runAt(9), { flags: 1, endIndex: 10 });
  map.close();
  const again = await openMap(api, 1).catch((error: unknown) => error);
  t.match(again, { message: /server/ }, 'what cannot be compared does not open');
});

t.test('[ebs: ListChangedBlocks] two volumes without a change, in thousands of empty pages', async (t) => {
  const second = { sizeGib: 65_536, puts: new Map([[100_000_000, 1]]) };
  const api = new FakePair({ sizeGib: 65_536, puts: new Map() }, second, () => 11);
  const pages = 3000;
  const list = api.listChangedBlocks.bind(api);
  let calls = 0;
  api.listChangedBlocks = (request, options) => {
    calls += 1;
    const page = Number(request?.pageToken?.split('/')[1] ?? 0);
    if (page === pages) return list({ ...request!, pageToken: '0' }, options);
    return Promise.resolve({ blocks: [], expiryMs: 1, volumeSizeGib: 65_536, nextToken: `e/${page + 1}` });
  };
  const map = await openMap(api, 65_536);
  t.equal(map.runAt(0), undefined, 'nothing is said after one empty page');
  const leaving = new AbortController();
  const left = map.learn(0, leaving.signal);
  leaving.abort(new Error('gone'));
  await t.rejects(left, { message: 'gone' });
  t.ok(calls < 100, 'a caller who leaves ends it');
  t.same(await map.learn(0), { flags: 0, endIndex: 100_000_000 });
  t.ok(calls <= pages + 20, `${calls} calls: it went on where it was`);
  t.ok(map.sizeBytes < 1000);
});
