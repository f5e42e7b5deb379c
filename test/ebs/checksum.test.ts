import { createHash } from 'node:crypto';
import t from 'tap';
import { blockChecksum, linearChecksum, ZERO_BLOCK_CHECKSUM } from '../../src/ebs/checksum.js';
import { patternBlock } from '../fixtures/fake-snapshot.js';

t.test('[ebs: GetSnapshotBlock] the checksum of a block is base64 of its SHA-256', async (t) => {
  t.equal(await blockChecksum(Buffer.alloc(524_288)), ZERO_BLOCK_CHECKSUM);
  const blocks = Array.from({ length: 40 }, (_, index) => patternBlock(index));
  const expected = blocks.map((block) => createHash('sha256').update(block).digest('base64'));
  t.same(
    await Promise.all(blocks.map((block) => blockChecksum(block))),
    expected,
    'many at once, each its own',
  );
});

t.test('[ebs: CompleteSnapshot] LINEAR: SHA-256 over the binary digests', async (t) => {
  t.equal(linearChecksum([]), createHash('sha256').digest('base64'));
  const digests = [1, 2, 3].map((index) => createHash('sha256').update(patternBlock(index)).digest());
  const expected = createHash('sha256').update(Buffer.concat(digests)).digest('base64');
  t.equal(linearChecksum(digests.map((digest) => digest.toString('base64'))), expected);
});
