import fc from 'fast-check';
import t from 'tap';
import { EbsError } from '../../src/ebs/errors.js';
import { TokenMap } from '../../src/snapshot/token-map.js';
import { TokenMemory } from '../../src/snapshot/token-memory.js';
import { BlockState } from '../../src/snapshot/token-page.js';
import { Limiter } from '../../src/util/limiter.js';
import { fail, FakeSnapshot } from '../fixtures/fake-snapshot.js';
import { ManualClock } from '../fixtures/manual-clock.js';

const BLOCK_COUNT = 4096;
const TOKEN_LIFE_MS = 1_000_000;

const blockIndex = fc.integer({ min: 0, max: BLOCK_COUNT - 1 });

/** What is done to the map, several things at the same time in each step. */
const action = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('token' as const), blockIndex }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('learn' as const), blockIndex, bulk: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('refuse' as const), blockIndex }) },
);
type Action = typeof action extends fc.Arbitrary<infer Value> ? Value : never;
const step = fc.record({
  actions: fc.array(action, { minLength: 1, maxLength: 6 }),
  advanceMs: fc.oneof(
    { weight: 4, arbitrary: fc.constant(0) },
    fc.integer({ min: 1, max: 2 * TOKEN_LIFE_MS }),
  ),
  newTokens: fc.integer({ min: 0, max: 9 }).map((die) => die === 0),
  newPageTokens: fc.integer({ min: 0, max: 5 }).map((die) => die === 0),
  failing: fc.integer({ min: 0, max: 9 }).map((die) => die === 0),
});

const listedSets = fc.oneof(
  fc.uniqueArray(blockIndex, { maxLength: 300 }),
  // Long runs, as real disks have.
  fc
    .array(fc.record({ start: blockIndex, length: fc.integer({ min: 1, max: 400 }) }), { maxLength: 8 })
    .map((runs) => [
      ...new Set(runs.flatMap(({ start, length }) => Array.from({ length }, (_, at) => start + at))),
    ])
    .map((blocks) => blocks.filter((block) => block < BLOCK_COUNT)),
);

t.test('whatever the service does, what the map says of a block is true', async (t) => {
  const property = fc.asyncProperty(
    listedSets,
    fc.array(step, { minLength: 1, maxLength: 12 }),
    fc.constantFrom(1, 3000, 20_000, 10_000_000),
    fc.infiniteStream(fc.integer({ min: 0, max: 200 })),
    async (blocks, steps, bytesMax, cuts) => {
      const listed = blocks.sort((a, b) => a - b);
      const isListed = new Set(listed);
      const clock = new ManualClock();
      const dateMs = (): number => clock.dateMs();
      const api = new FakeSnapshot({ listed, volumeSizeGib: 2, tokenLifeMs: TOKEN_LIFE_MS, dateMs });
      // Pages are cut short at random, down to nothing.
      api.shorten = (page) => Math.min(page.length, cuts.next().value);
      const limiter = new Limiter(3);
      const memory = new TokenMemory(bytesMax);
      const signal = new AbortController().signal;
      const map = await TokenMap.open({ api, snapshotId: 'snap-1', limiter, clock, memory, signal });

      const checkRun = (index: number, run: { state: BlockState; endIndex: number }): void => {
        if (run.endIndex <= index || run.endIndex > BLOCK_COUNT)
          throw new Error(`a run from ${index} to ${run.endIndex}`);
        for (let at = index; at < run.endIndex; at += 1) {
          const state = isListed.has(at) ? BlockState.Listed : BlockState.Unlisted;
          if (run.state !== state) throw new Error(`block ${at} in a run of ${run.state}`);
        }
      };
      const doIt = async ({ kind, blockIndex: index, ...rest }: Action): Promise<void> => {
        if (kind === 'learn') {
          checkRun(index, await map.learn(index, { bulk: 'bulk' in rest && rest.bulk }));
          return;
        }
        const token = await map.tokenOf(index);
        if ((token !== undefined) !== isListed.has(index))
          throw new Error(`block ${index} has the token ${token ?? ''}`);
        if (token === undefined) return;
        if (Number(token.split(':')[1]) !== index) throw new Error(`block ${index} has the token ${token}`);
        if (kind === 'token') return;
        map.refuse(index, token);
        const renewed = await map.tokenOf(index);
        if (renewed?.split(':')[1] !== String(index))
          throw new Error(`block ${index} has the token ${renewed ?? ''}`);
        const generation = Number(renewed.split(':')[0]);
        if (generation !== api.tokenGeneration)
          throw new Error(`a token of generation ${generation} after a refusal`);
      };
      for (const { actions, advanceMs, newTokens, newPageTokens, failing } of steps) {
        if (newTokens) api.tokenGeneration += 1;
        if (newPageTokens) api.pageGeneration += 1;
        await clock.advance(advanceMs);
        api.hook = () => {
          if (failing) throw fail('server');
        };
        const outcomes = await Promise.allSettled(actions.map(doIt));
        for (const outcome of outcomes) {
          if (outcome.status === 'fulfilled') continue;
          if (!failing || !(outcome.reason instanceof EbsError)) throw outcome.reason;
        }
        for (let index = 0; index < BLOCK_COUNT; index += 97) {
          const run = map.runAt(index);
          if ((run === undefined) !== (map.stateOf(index) === BlockState.Unknown))
            throw new Error(`block ${index}`);
          if (run !== undefined) checkRun(index, run);
        }
      }
    },
  );
  const result = await fc.check(property, { numRuns: 150 });
  t.notOk(result.failed, fc.defaultReportMessage(result) ?? '');
});
