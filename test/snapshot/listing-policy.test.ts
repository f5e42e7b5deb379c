import fc from 'fast-check';
import t from 'tap';
import { chooseListing, firstResultsMax, type ListingQuestion } from '../../src/snapshot/listing-policy.js';
import { MIB } from '../../src/util/units.js';

const FULL_64_TIB: ListingQuestion = {
  blockIndex: 1_000_050,
  blockCount: 2 ** 27,
  bytesPerBlock: 100,
  bytesMax: 32 * MIB,
  before: undefined,
  after: undefined,
  bulk: false,
};
const SMALL: ListingQuestion = { ...FULL_64_TIB, blockIndex: 25_000, blockCount: 204_800 };

t.test('where all tokens fit into memory, as much as one call can list', async (t) => {
  t.same(chooseListing(SMALL), { startIndex: 20_000, resultsMax: 10_000 });
  const before = { endIndex: 21_500, listedCount: 10_000 };
  t.same(chooseListing({ ...SMALL, before }), { startIndex: 21_500, resultsMax: 10_000 });
});

t.test('where they do not, the less of the volume fits, the less', async (t) => {
  t.same(chooseListing(FULL_64_TIB), { startIndex: 1_000_000, resultsMax: 100 });
  const halfFits = { ...FULL_64_TIB, bytesMax: 100 * 2 ** 20, blockCount: 2 ** 21, blockIndex: 10_000 };
  t.same(chooseListing(halfFits), { startIndex: 10_000, resultsMax: 1250 });
  const oneTib = { ...FULL_64_TIB, blockCount: 2 ** 21, blockIndex: 10_000 };
  t.same(chooseListing(oneTib), { startIndex: 10_000, resultsMax: 100 });
});

t.test('volumes that share the memory begin with what there is room for', async (t) => {
  t.equal(firstResultsMax(100, 32 * MIB, 1), 10_000);
  t.equal(firstResultsMax(100, 32 * MIB, 8), 10_000);
  t.equal(firstResultsMax(100, 32 * MIB, 80), 1048);
  t.equal(firstResultsMax(100, 32 * MIB, 1000), 100);
});

t.test('a stream soon lists 10,000 at a time, forwards and backwards', async (t) => {
  const sizes: number[] = [];
  let before = { endIndex: 1_000_000, listedCount: 100 };
  for (let call = 0; call < 5; call += 1) {
    const listing = chooseListing({ ...FULL_64_TIB, blockIndex: before.endIndex, before });
    t.equal(listing.startIndex, before.endIndex);
    sizes.push(listing.resultsMax);
    before = { endIndex: listing.startIndex + listing.resultsMax, listedCount: listing.resultsMax };
  }
  t.same(sizes, [400, 1600, 6400, 10_000, 10_000]);

  const after = { startIndex: 1_000_000, listedCount: 100 };
  const back = chooseListing({ ...FULL_64_TIB, blockIndex: 999_999, after });
  t.same(back, { startIndex: 999_600, resultsMax: 400 });
});

t.test('a map of the whole lists as much as it can from where it is', async (t) => {
  t.same(chooseListing({ ...FULL_64_TIB, bulk: true }), { startIndex: 1_000_050, resultsMax: 10_000 });
});

t.test('a listing always gets to the block, if every block before it is listed too', async (t) => {
  const property = fc.property(
    fc.integer({ min: 0, max: 2 ** 27 - 1 }),
    fc.integer({ min: 0, max: 30_000 }),
    fc.integer({ min: 0, max: 30_000 }),
    fc.integer({ min: 1, max: 30_000 }),
    fc.integer({ min: 0, max: 30_000 }),
    fc.integer({ min: 1, max: 2 ** 31 }),
    fc.boolean(),
    (blockIndex, gapBefore, countBefore, gapAfter, countAfter, bytesMax, bulk) => {
      const before =
        gapBefore > blockIndex ? undefined : { endIndex: blockIndex - gapBefore, listedCount: countBefore };
      const after = { startIndex: blockIndex + gapAfter, listedCount: countAfter };
      const listing = chooseListing({ ...FULL_64_TIB, blockIndex, before, after, bytesMax, bulk });
      const { startIndex, resultsMax } = listing;
      if (resultsMax < 100 || resultsMax > 10_000) throw new Error(`${resultsMax} results`);
      if (startIndex < (before?.endIndex ?? 0)) throw new Error('what is known is listed again');
      if (blockIndex < startIndex || blockIndex >= startIndex + resultsMax)
        throw new Error('the block is missed');
    },
  );
  const result = fc.check(property, { numRuns: 2000 });
  t.notOk(result.failed, fc.defaultReportMessage(result) ?? '');
});
