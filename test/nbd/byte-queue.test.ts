import t from 'tap';
import { ByteQueue } from '../../src/nbd/byte-queue.js';
import { AssertionError } from '../../src/util/assert.js';
import { splitsOf } from '../fixtures/codec-table.js';
import { freshSeed, seededBytes, seededNumbers } from '../fixtures/seeded.js';

t.test('[nbd-rule 37] gives back what it was given, however it was cut and is taken', async (t) => {
  const seed = freshSeed();
  t.comment(`seed: ${seed}`);
  const random = seededNumbers(seed);
  for (let round = 0; round < 300; round += 1) {
    const bytes = seededBytes(`${seed}${round}`, random(300));
    const queue = new ByteQueue();
    let pushed = 0;
    let taken = 0;
    let same = true;
    while (taken < bytes.length) {
      if (pushed < bytes.length && (random(2) === 0 || queue.lengthBytes === 0)) {
        const count = 1 + random(Math.min(40, bytes.length - pushed));
        queue.push(bytes.subarray(pushed, pushed + count));
        pushed += count;
        continue;
      }
      const count = random(queue.lengthBytes + 1);
      const expected = bytes.subarray(taken, taken + count);
      taken += count;
      const way = random(4);
      if (way === 0) same &&= queue.take(count).equals(expected);
      else if (way === 1) queue.skip(count);
      else if (way === 2) {
        const target = Buffer.alloc(count + 3);
        queue.copyTo(target, 2, count);
        same &&= target.subarray(2, 2 + count).equals(expected);
      } else {
        const head = queue.headOf(count);
        same &&= head.subarray(queue.headAt, queue.headAt + count).equals(expected);
        queue.skip(count);
      }
      same &&= queue.lengthBytes === pushed - taken;
    }
    if (!same) t.fail(`round ${round}`);
  }
  t.pass('300 rounds');
});

t.test('does not copy what lies in one chunk', async (t) => {
  const chunk = Buffer.from('abcdef');
  const queue = new ByteQueue();
  queue.push(chunk);
  queue.skip(2);
  t.equal(queue.take(3).buffer, chunk.buffer);
});

t.test('joins what is spread over chunks, and goes on behind it', async (t) => {
  for (const parts of splitsOf(Buffer.from('abcdef'))) {
    const queue = new ByteQueue();
    for (const part of parts) queue.push(part);
    queue.push(Buffer.from('gh'));
    t.equal(queue.headOf(4).toString('latin1', queue.headAt, queue.headAt + 4), 'abcd');
    t.equal(queue.take(8).toString(), 'abcdefgh');
    t.equal(queue.lengthBytes, 0);
  }
});

t.test('never gives more than it has', async (t) => {
  const queue = new ByteQueue();
  queue.push(Buffer.alloc(0));
  queue.push(Buffer.from('ab'));
  t.throws(() => queue.take(3), AssertionError);
  t.throws(() => queue.skip(3), AssertionError);
  t.throws(() => queue.copyTo(Buffer.alloc(9), 0, 3), AssertionError);
  queue.clear();
  t.equal(queue.lengthBytes, 0);
});

t.test('[nbd-rule 37] costs no more for many small chunks than for one', async (t) => {
  const queue = new ByteQueue();
  const chunk = Buffer.from('x');
  const count = 200_000;
  for (let index = 0; index < count; index += 1) queue.push(chunk);
  const target = Buffer.alloc(count);
  queue.copyTo(target, 0, count);
  t.equal(target.indexOf(0), -1);
});
