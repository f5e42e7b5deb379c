// What is put and what is not, against an API that only counts.
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { BLOCKS_PER_GIB } from '../../src/ebs/constants.js';
import { linearChecksum, ZERO_BLOCK_CHECKSUM } from '../../src/ebs/checksum.js';
import { EbsErrorKind } from '../../src/ebs/errors.js';
import { SnapshotStatus, type SnapshotApi } from '../../src/ebs/snapshot-api.js';
import type { BlockSupply } from '../../src/transfer/block-supply.js';
import { DigestJournal } from '../../src/transfer/digest-journal.js';
import type { PutOptions } from '../../src/transfer/put-options.js';
import { putSnapshot } from '../../src/transfer/put-snapshot.js';
import { systemClock } from '../../src/util/clock.js';
import { Limiter } from '../../src/util/limiter.js';
import { silentLogger } from '../../src/util/logger.js';
import { PutPacer } from '../../src/writer/put-pacer.js';
import { blockOf, sha256 } from '../fixtures/ebs-emulator.js';
import { fail } from '../fixtures/fake-snapshot.js';
import { workFolder } from '../fixtures/work-folder.js';

interface Counted extends SnapshotApi {
  readonly starts: readonly string[];
  readonly puts: ReadonlyMap<number, string>;
  readonly completed: readonly (string | undefined)[];
}

/** @param statuses of the snapshots that are started, one after the other; the last one of all further ones. */
function countingApi(
  kmsKeyArn: string | undefined,
  statuses: readonly SnapshotStatus[] = [SnapshotStatus.Pending],
): Counted {
  const starts: string[] = [];
  const puts = new Map<number, string>();
  const completed: (string | undefined)[] = [];
  const none = (): Promise<never> => Promise.reject(fail(EbsErrorKind.InvalidRequest));
  return {
    ...{ starts, puts, completed },
    startSnapshot: ({ clientToken, volumeSizeGib }) => {
      starts.push(clientToken);
      const status = statuses[starts.length - 1] ?? SnapshotStatus.Pending;
      const snapshotId = `snap-${String(starts.length).padStart(17, '0')}`;
      return Promise.resolve({ snapshotId, status, volumeSizeGib, parentSnapshotId: undefined, kmsKeyArn });
    },
    putSnapshotBlock: ({ blockIndex, checksum }) => Promise.resolve(void puts.set(blockIndex, checksum)),
    completeSnapshot: ({ changedBlocksCount, checksum }) => {
      const own = linearChecksum([...puts].sort(([one], [other]) => one - other).map(([, digest]) => digest));
      completed.push(checksum);
      const isRight = changedBlocksCount === puts.size && checksum === own;
      return Promise.resolve(isRight ? SnapshotStatus.Completed : SnapshotStatus.Error);
    },
    listSnapshotBlocks: () =>
      Promise.resolve({ blocks: [], expiryMs: 0, volumeSizeGib: 1, nextToken: undefined }),
    listChangedBlocks: none,
    getSnapshotBlock: none,
    close: () => undefined,
  };
}

/** Block 3 and block 70 have data, block 5 is written zeros. */
const supply: BlockSupply = {
  isImmutable: false,
  canReadAgain: true,
  totalCount: () => 3,
  blocks: async function* () {
    for (const blockIndex of [3, 5, 70]) yield await Promise.resolve({ blockIndex });
  },
  read: ({ blockIndex }) =>
    Promise.resolve({ bytes: blockOf(blockIndex === 5 ? 0 : blockIndex), checksum: undefined }),
};

async function optionsFor(t: Test, api: SnapshotApi): Promise<PutOptions<{ blockIndex: number }>> {
  const journal = await DigestJournal.open(join(workFolder(t), 'journal'));
  t.teardown(() => journal.close());
  const wishes = { description: '', tags: {}, encryption: null, timeoutMinutes: 60 };
  return {
    ...{ supply, journal, api, wishes, logger: silentLogger, clock: systemClock, volumeSizeGib: 1 },
    ...{ limiter: new Limiter(8), inFlightMax: 8, onProgress: () => undefined },
    pacer: new PutPacer(systemClock, Number.POSITIVE_INFINITY),
  };
}

const { signal } = new AbortController();

t.test('zeros over nothing are not put', async (t) => {
  const api = countingApi(undefined);
  const outcome = await putSnapshot(await optionsFor(t, api), signal);
  t.strictSame([...api.puts.keys()].sort(), [3, 70]);
  t.strictSame([outcome.movedCount, outcome.skippedCount, outcome.blockCount], [2, 1, 2]);
});

t.test('in an encrypted snapshot every block is put, also where there is nothing', async (t) => {
  const api = countingApi('arn:aws:kms:us-east-1:123456789012:key/a');
  const outcome = await putSnapshot(await optionsFor(t, api), signal);
  t.equal(outcome.blockCount, BLOCKS_PER_GIB);
  t.equal(api.puts.size, BLOCKS_PER_GIB);
  t.equal(api.puts.get(3), sha256(blockOf(3)));
  t.equal(
    [...api.puts.values()].filter((checksum) => checksum === ZERO_BLOCK_CHECKSUM).length,
    BLOCKS_PER_GIB - 2,
  );
});

t.test('what is lost is put into another snapshot, three times at most', async (t) => {
  const api = countingApi(undefined, [SnapshotStatus.Error, SnapshotStatus.Pending]);
  const outcome = await putSnapshot(await optionsFor(t, api), signal);
  t.equal(outcome.snapshotId, 'snap-00000000000000002');
  t.equal(new Set(api.starts).size, 2, 'with another token');
  const lost = countingApi(undefined, Array<SnapshotStatus>(9).fill(SnapshotStatus.Error));
  await t.rejects(putSnapshot(await optionsFor(t, lost), signal), {
    message: /^Cannot make the snapshot: .* is error/,
  });
  t.equal(lost.starts.length, 3);
});

t.test('a count that AWS does not accept is not the end: everything is put again', async (t) => {
  const api = countingApi(undefined);
  const options = await optionsFor(t, api);
  // Put by a run that was killed before it could note it, of a disk that has changed since.
  const stray = {
    ...api,
    startSnapshot: async (...args: Parameters<SnapshotApi['startSnapshot']>) => {
      const started = await api.startSnapshot(...args);
      if (api.starts.length === 1) (api.puts as Map<number, string>).set(9, ZERO_BLOCK_CHECKSUM);
      else (api.puts as Map<number, string>).delete(9);
      return started;
    },
  };
  const outcome = await putSnapshot({ ...options, api: stray }, signal);
  t.equal(outcome.snapshotId, 'snap-00000000000000002');
  t.equal(api.completed.length, 2);
});
