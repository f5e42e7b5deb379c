import t from 'tap';
import { ExtentListBuilder, faultInExtents } from '../../src/device/extent-list.js';

t.test('joins neighbours, and stops when full', async (t) => {
  const list = new ExtentListBuilder(2);
  t.equal(list.add(10, 0), true);
  t.equal(list.add(0, 3), true, 'an empty extent is left out');
  t.equal(list.add(5, 0), true);
  t.equal(list.add(7, 3), true);
  t.equal(list.add(1, 0), false, 'a third one has no room');
  t.equal(list.add(1, 3), true, 'more of the last one has');
  t.strictSame(list.build(), [
    { lengthBytes: 15, flags: 0 },
    { lengthBytes: 8, flags: 3 },
  ]);
});

t.test('finds what is wrong with the answer of a device', async (t) => {
  const good = { lengthBytes: 10, flags: 3 };
  t.equal(faultInExtents([good], 10, 1), undefined);
  t.equal(faultInExtents([good], 11, 1), undefined, 'less than was asked');
  t.equal(faultInExtents([{ lengthBytes: 1, flags: 0xffff_ffff }], 1, 1), undefined);
  t.match(faultInExtents([], 10, 1), /no extent/);
  t.match(faultInExtents([good, good], 20, 1), /2 extents/);
  t.match(faultInExtents([good], 9, 1), /extents of 10 bytes/);
  t.match(faultInExtents([{ lengthBytes: 0, flags: 0 }], 9, 1), /an extent of 0 bytes/);
  t.match(faultInExtents([{ lengthBytes: 1.5, flags: 0 }], 9, 1), /an extent of 1.5 bytes/);
  t.match(faultInExtents([{ lengthBytes: 1, flags: 2 ** 32 }], 9, 1), /flags/);
  t.match(faultInExtents([{ lengthBytes: 1, flags: -1 }], 9, 1), /flags/);
});
