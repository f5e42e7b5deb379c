import fc from 'fast-check';
import t from 'tap';
import { AssertionError } from '../../src/util/assert.js';
import { isWithin, spansOf } from '../../src/util/ranges.js';

t.test('spans cover a range exactly once, in order, inside their units', async () => {
  fc.assert(
    fc.property(
      fc.nat(2 ** 46),
      fc.nat(5000),
      fc.integer({ min: 1, max: 700 }),
      (offset, lengthBytes, unitBytes) => {
        let position = offset;
        for (const span of spansOf(offset, lengthBytes, unitBytes)) {
          if (span.unitIndex * unitBytes + span.startInUnit !== position) return false;
          if (span.startInRange !== position - offset || span.lengthBytes < 1) return false;
          if (span.startInUnit + span.lengthBytes > unitBytes) return false;
          position += span.lengthBytes;
        }
        return position === offset + lengthBytes;
      },
    ),
  );
});

t.test('spans refuse what is not a range', async (t) => {
  for (const [offset, lengthBytes] of [
    [-1, 1],
    [0, -1],
    [0.5, 1],
    [2 ** 53, 1],
    [2 ** 53 - 1, 2],
  ] as const) {
    t.throws(() => [...spansOf(offset, lengthBytes, 512)], AssertionError, `${offset} + ${lengthBytes}`);
  }
});

t.test('isWithin does not wrap', async (t) => {
  t.ok(isWithin(0, 0, 0));
  t.ok(isWithin(10, 0, 10));
  t.ok(isWithin(0, 10, 10));
  t.notOk(isWithin(1, 10, 10));
  t.notOk(isWithin(11, 0, 10));
  t.notOk(isWithin(2 ** 53 - 1, 2 ** 53 - 1, 2 ** 46));
  t.notOk(isWithin(-1, 1, 10));
});
