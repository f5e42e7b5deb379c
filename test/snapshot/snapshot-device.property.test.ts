import fc from 'fast-check';
import t from 'tap';
import { DeviceError } from '../../src/device/device-error.js';
import { BLOCK_BYTES } from '../../src/ebs/constants.js';
import { EbsErrorKind, EbsOperation } from '../../src/ebs/errors.js';
import { withRetry } from '../../src/ebs/retry.js';
import { BlockCache } from '../../src/snapshot/block-cache.js';
import { openSnapshotDevice } from '../../src/snapshot/snapshot-device.js';
import { TokenMemory } from '../../src/snapshot/token-memory.js';
import { Lease } from '../../src/util/lease.js';
import { Limiter } from '../../src/util/limiter.js';
import { joinChunks } from '../fixtures/device-contract.js';
import { fail, FakeSnapshot, patternBlock } from '../fixtures/fake-snapshot.js';
import { ManualClock } from '../fixtures/manual-clock.js';

const BLOCKS = 24;
const GONE = new Error('gone');

// What a call may end in; most do not fail.
const fates = fc.oneof(
  { weight: 12, arbitrary: fc.constant('works' as const) },
  fc.constantFrom(EbsErrorKind.Server, EbsErrorKind.Network, EbsErrorKind.ThrottledSnapshot),
  fc.constantFrom(EbsErrorKind.AccessDenied, EbsErrorKind.InvalidBlockToken),
);

const action = fc.record({
  kind: fc.constantFrom('read', 'read', 'read', 'cache', 'extents'),
  offset: fc.integer({ min: 0, max: BLOCKS * BLOCK_BYTES - 1 }),
  lengthBytes: fc.integer({ min: 1, max: 4 * BLOCK_BYTES }),
  /** When its caller goes away, if ever. */
  leavesAfterMs: fc.option(fc.integer({ min: 0, max: 300 })),
  startsAfterMs: fc.integer({ min: 0, max: 200 }),
});

t.test(
  'reads that meet, fail and are given up: true bytes or an error, and nothing is left behind',
  async (t) => {
    const property = fc.asyncProperty(
      fc.uniqueArray(fc.integer({ min: 0, max: BLOCKS - 1 })),
      fc.array(action, { minLength: 1, maxLength: 12 }),
      fc.infiniteStream(fates),
      fc.infiniteStream(fc.integer({ min: 0, max: 60 })),
      fc.constantFrom(0, BLOCK_BYTES, 3 * BLOCK_BYTES, BLOCKS * BLOCK_BYTES),
      async (blocks, actions, fateOf, delays, cacheBytes) => {
        const listed = blocks.sort((a, b) => a - b);
        const clock = new ManualClock();
        const fake = new FakeSnapshot({ listed, fill: contentOf });
        const limiter = new Limiter(3);
        const device = await openSnapshotDevice({
          api: withRetry(fake, {}, { clock, random: () => 0.5 }),
          snapshotId: 'snap-1',
          cache: new BlockCache(cacheBytes),
          limiter,
          clock,
          tokenMemory: new TokenMemory(1),
        });
        let running = 0;
        const runningOf = new Set<number>();
        fake.shorten = (page) => Math.min(page.length, 7);
        fake.hook = async (operation, request, { signal }) => {
          const { blockIndex } = request as { blockIndex: number };
          if (operation === EbsOperation.GetSnapshotBlock) {
            running += 1;
            if (running > 3) throw new Error('more at once than the limiter allows');
            if (runningOf.has(blockIndex)) throw new Error(`two fetches of block ${blockIndex} at once`);
            runningOf.add(blockIndex);
          }
          try {
            await clock.sleep(delays.next().value, signal);
            const fate = fateOf.next().value;
            if (fate !== 'works') throw fail(fate);
          } finally {
            if (operation === EbsOperation.GetSnapshotBlock) {
              running -= 1;
              runningOf.delete(blockIndex);
            }
          }
        };

        const whole = Buffer.concat(Array.from({ length: BLOCKS }, (_, index) => contentFor(listed, index)));
        const act = async ({
          kind,
          offset,
          lengthBytes: wanted,
          leavesAfterMs,
          startsAfterMs,
        }: Action): Promise<void> => {
          const lengthBytes = Math.min(wanted, BLOCKS * BLOCK_BYTES - offset);
          await clock.sleep(startsAfterMs);
          const controller = new AbortController();
          const leaving =
            leavesAfterMs === null ? undefined : clock.setTimer(leavesAfterMs, () => controller.abort(GONE));
          const options = { signal: controller.signal };
          try {
            if (kind === 'read') {
              const bytes = joinChunks(await device.read(offset, lengthBytes, options), lengthBytes);
              if (!bytes.equals(whole.subarray(offset, offset + lengthBytes)))
                throw new Error(`wrong bytes at ${offset}`);
            } else if (kind === 'cache') {
              await device.cache(offset, lengthBytes, options);
            } else {
              let at = offset;
              for (const extent of await device.extents(offset, lengthBytes, { ...options, extentsMax: 5 })) {
                const bytes = whole.subarray(at, at + extent.lengthBytes);
                if (extent.flags !== 0 && bytes.some((byte) => byte !== 0))
                  throw new Error(`a hole at ${at}`);
                at += extent.lengthBytes;
              }
              if (at === offset || at > offset + lengthBytes) throw new Error(`extents up to ${at}`);
            }
          } catch (error) {
            const excused = error instanceof DeviceError ? error.errno === 'EIO' : error === GONE;
            if (!excused) throw error;
          } finally {
            leaving?.cancel();
          }
        };
        await clock.run(Promise.all(actions.map(act)));
        // Fetches that had begun when their readers left come to their end; then nothing runs, waits or is set.
        await clock.advance(1_000_000);
        if (limiter.inFlightCount + limiter.waitingCount + running + clock.waitingCount !== 0) {
          throw new Error(
            `left behind: ${limiter.inFlightCount}, ${limiter.waitingCount}, ${running}, ${clock.waitingCount}`,
          );
        }
        device.close();
      },
    );
    const result = await fc.check(property, { numRuns: 30 });
    t.notOk(result.failed, fc.defaultReportMessage(result) ?? '');
  },
);

const use = fc.record({
  offset: fc.integer({ min: 0, max: 10 * BLOCK_BYTES }),
  // Those within a block take another way.
  lengthBytes: fc.oneof(fc.integer({ min: 1, max: 4096 }), fc.integer({ min: 1, max: 2 * BLOCK_BYTES })),
  startsAfterMs: fc.integer({ min: 0, max: 400 }),
  /** How long the bytes are looked at. */
  usedMs: fc.integer({ min: 0, max: 100 }),
  saysWhenDone: fc.boolean(),
});

t.test('memory is used again, but by nobody while somebody looks at it', async (t) => {
  const memory = { taken: 0, again: 0 };
  const known = new WeakSet<ArrayBufferLike>();
  const property = fc.asyncProperty(
    fc.array(use, { minLength: 20, maxLength: 40 }),
    fc.infiniteStream(fc.integer({ min: 0, max: 20 })),
    fc.integer({ min: 0, max: 4 }),
    async (uses, delays, cacheBlocks) => {
      const clock = new ManualClock();
      const fake = new FakeSnapshot({ listed: patterns.map((_, index) => index), fill: contentOf });
      fake.hook = (_operation, _request, { signal }) => clock.sleep(delays.next().value, signal);
      fake.damage = ({ buffer }) => {
        memory[known.has(buffer) ? 'again' : 'taken'] += 1;
        known.add(buffer);
      };
      const device = await clock.run(
        openSnapshotDevice({
          api: fake,
          snapshotId: 'snap-1',
          cache: new BlockCache(cacheBlocks * BLOCK_BYTES),
          limiter: new Limiter(4),
          clock,
        }),
      );
      const whole = Buffer.concat(patterns);
      const look = async ({ offset, lengthBytes, ...times }: Use): Promise<void> => {
        await clock.sleep(times.startsAfterMs);
        const lease = times.saysWhenDone ? new Lease() : undefined;
        const chunks = await device.read(offset, lengthBytes, { lease });
        for (const waitMs of [0, times.usedMs]) {
          await clock.sleep(waitMs);
          const bytes = joinChunks(chunks, lengthBytes);
          if (!bytes.equals(whole.subarray(offset, offset + lengthBytes)))
            throw new Error(`the bytes at ${offset} are another block's`);
        }
        lease?.end();
      };
      await clock.run(Promise.all(uses.map(look)));
      device.close();
    },
  );
  const result = await fc.check(property, { numRuns: 20 });
  t.notOk(result.failed, fc.defaultReportMessage(result) ?? '');
  t.ok(memory.again > 0 && memory.taken > 0, `used again: ${memory.again}, new: ${memory.taken}`);
});

type Use = typeof use extends fc.Arbitrary<infer Value> ? Value : never;
type Action = typeof action extends fc.Arbitrary<infer Value> ? Value : never;

const patterns = Array.from({ length: BLOCKS }, (_, index) => patternBlock(index));

function contentOf(blockIndex: number): Buffer {
  return patterns[blockIndex]!;
}

function contentFor(listed: readonly number[], blockIndex: number): Buffer {
  return listed.includes(blockIndex) ? contentOf(blockIndex) : Buffer.alloc(BLOCK_BYTES);
}
