import t from 'tap';
import { ZERO_BLOCK_CHECKSUM } from '../../src/ebs/checksum.js';
import type { ReceivedBlock } from '../../src/ebs/snapshot-api.js';
import { withVerification } from '../../src/ebs/verify.js';
import { FakeSnapshot } from '../fixtures/fake-snapshot.js';

const GOOD: ReceivedBlock = {
  bytes: Buffer.alloc(524_288),
  declaredLengthBytes: 524_288,
  checksum: ZERO_BLOCK_CHECKSUM,
  checksumAlgorithm: 'SHA256',
};
const GET = { snapshotId: 'snap-1', blockIndex: 3, blockToken: 't' };

function apiOf(block: ReceivedBlock): FakeSnapshot {
  return Object.assign(new FakeSnapshot({ listed: [] }), { getSnapshotBlock: () => Promise.resolve(block) });
}

t.test('[ebs: GetSnapshotBlock] a block that is what the service declares', async (t) => {
  t.equal(await withVerification(apiOf(GOOD)).getSnapshotBlock(GET), GOOD);
});

const faults: [string, Partial<ReceivedBlock>, RegExp][] = [
  ['too short', { bytes: Buffer.alloc(524_287) }, /524287 of 524288 bytes arrived/],
  ['declared too short', { declaredLengthBytes: 512 }, /declares 512 bytes/],
  ['no declared length', { declaredLengthBytes: undefined }, /declares no bytes/],
  ['another algorithm', { checksumAlgorithm: 'MD5' }, /algorithm is MD5/],
  ['no algorithm', { checksumAlgorithm: undefined }, /algorithm is missing/],
  ['no checksum', { checksum: undefined }, /has no checksum/],
  ['another checksum', { checksum: 'AAAA' }, /its SHA-256 is B4VNL.* where the service declares AAAA/],
  ['other bytes', { bytes: Buffer.alloc(524_288, 1) }, /its SHA-256 is/],
];
for (const [title, fault, message] of faults) {
  t.test(`[ebs: GetSnapshotBlock] ${title}`, async (t) => {
    const call = withVerification(apiOf({ ...GOOD, ...fault })).getSnapshotBlock(GET);
    await t.rejects(call, { name: 'EbsError', kind: 'corrupt-block', retryable: true, message });
    await t.rejects(call, { message: /^Cannot read block 3 of snap-1: / });
  });
}

t.test('the other calls go through', async (t) => {
  const fake = new FakeSnapshot({ listed: [] });
  const api = withVerification(fake);
  const missing = { message: 'not in this fake' };
  t.match(await api.listSnapshotBlocks({ snapshotId: 'snap-1', resultsMax: 100 }), { blocks: [] });
  await t.rejects(
    api.listChangedBlocks({ firstSnapshotId: 'a', secondSnapshotId: 'b', resultsMax: 100 }),
    missing,
  );
  await t.rejects(api.startSnapshot({ volumeSizeGib: 1, clientToken: 'c' }), missing);
  await t.rejects(api.putSnapshotBlock({ ...GET, bytes: GOOD.bytes, checksum: '' }), missing);
  await t.rejects(api.completeSnapshot({ snapshotId: 'a', changedBlocksCount: 0 }), missing);
  api.close();
  t.ok(fake.closed);
});
