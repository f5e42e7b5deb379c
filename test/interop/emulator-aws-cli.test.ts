// The `aws` command round-trips a snapshot through the emulator.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { emulatorFor, linearSha256, sha256 } from '../fixtures/ebs-emulator.js';
import { CREDENTIALS } from '../fixtures/emulator.js';
import { needsPrograms } from '../fixtures/programs.js';
import { mustRun, runProgram, type Outcome } from '../fixtures/run-program.js';
import { seededBytes } from '../fixtures/seeded.js';
import { workFolder } from '../fixtures/work-folder.js';

/** Debian's, not whatever else the PATH leads to. */
const AWS = '/usr/bin/aws';

interface Page {
  readonly Blocks: readonly { readonly BlockIndex: number; readonly BlockToken: string }[];
  readonly VolumeSize: number;
}

t.test('start, put, complete, list, get, changed blocks', { ...needsPrograms(AWS) }, async (t) => {
  const folder = workFolder(t);
  const { url } = await emulatorFor(t);
  const env = {
    ...CREDENTIALS,
    AWS_CONFIG_FILE: join(folder, 'none'),
    AWS_SHARED_CREDENTIALS_FILE: join(folder, 'none'),
    AWS_PAGER: '',
    AWS_MAX_ATTEMPTS: '1',
  };
  // Debian's version does not know AWS_ENDPOINT_URL_EBS yet.
  const called = ['--endpoint-url', url, 'ebs'];
  const aws = async (...args: string[]): Promise<unknown> =>
    JSON.parse(await mustRun(AWS, [...called, ...args, '--output', 'json'], { env }));
  const failing = (...args: string[]): Promise<Outcome> => runProgram(AWS, [...called, ...args], { env });
  const put = async (snapshotId: string, index: number, bytes: Buffer): Promise<unknown> => {
    writeFileSync(join(folder, 'block'), bytes);
    const checksum = ['--checksum', sha256(bytes), '--checksum-algorithm', 'SHA256'];
    const which = ['--snapshot-id', snapshotId, '--block-index', String(index), '--data-length', '524288'];
    return aws('put-snapshot-block', ...which, '--block-data', join(folder, 'block'), ...checksum);
  };
  const complete = async (snapshotId: string, blocks: Buffer[]): Promise<void> => {
    const checksum = ['--checksum', linearSha256(blocks), '--checksum-algorithm', 'SHA256'];
    const method = ['--checksum-aggregation-method', 'LINEAR'];
    const args = ['--snapshot-id', snapshotId, '--changed-blocks-count', String(blocks.length)];
    for (;;) {
      const answer = await aws('complete-snapshot', ...args, ...checksum, ...method);
      if ((answer as { Status: string }).Status === 'completed') return;
      t.strictSame(answer, { Status: 'pending' });
    }
  };

  const [first, second] = ['a', 'b'].map((name) => seededBytes(name, 524_288));
  const tags = ['--tags', 'Key=Name,Value=disk one', 'Key=env,Value=test'];
  const started = (await aws('start-snapshot', '--volume-size', '2', '--description', 'by aws', ...tags)) as {
    SnapshotId: string;
  };
  t.match(started, {
    Status: 'pending',
    VolumeSize: 2,
    BlockSize: 524_288,
    Description: 'by aws',
    Tags: [
      { Key: 'Name', Value: 'disk one' },
      { Key: 'env', Value: 'test' },
    ],
  });
  const parent = started.SnapshotId;
  t.strictSame(await put(parent, 1, first!), { Checksum: sha256(first!), ChecksumAlgorithm: 'SHA256' });
  await complete(parent, [first!]);

  const page = (await aws('list-snapshot-blocks', '--snapshot-id', parent)) as Page;
  t.equal(page.VolumeSize, 2);
  t.strictSame(
    page.Blocks.map((block) => block.BlockIndex),
    [1],
  );
  const path = join(folder, 'got');
  const which = ['--snapshot-id', parent, '--block-index', '1', '--block-token', page.Blocks[0]!.BlockToken];
  const got = await aws('get-snapshot-block', ...which, path);
  t.match(got, { DataLength: 524_288, Checksum: sha256(first!), ChecksumAlgorithm: 'SHA256' });
  t.ok(readFileSync(path).equals(first!));

  const child = (
    (await aws('start-snapshot', '--volume-size', '2', '--parent-snapshot-id', parent)) as {
      SnapshotId: string;
    }
  ).SnapshotId;
  await put(child, 3000, second!);
  await complete(child, [second!]);
  const pair = ['--first-snapshot-id', parent, '--second-snapshot-id', child];
  const changes = (await aws('list-changed-blocks', ...pair)) as { ChangedBlocks: object[] };
  t.match(changes.ChangedBlocks, [{ BlockIndex: 3000, SecondBlockToken: String }]);
  t.equal(changes.ChangedBlocks.length, 1);

  const missing = await failing('list-snapshot-blocks', '--snapshot-id', 'snap-00000000000000000');
  t.match(missing.stderr, /\(ResourceNotFoundException\).*ListSnapshotBlocks/);

  const ec2 = async (...args: string[]): Promise<unknown> =>
    JSON.parse(await mustRun(AWS, ['--endpoint-url', url, 'ec2', ...args, '--output', 'json'], { env }));
  const filter = ['--filters', 'Name=tag:Name,Values=disk*', '--owner-ids', 'self'];
  const described = (await ec2('describe-snapshots', ...filter)) as { Snapshots: object[] };
  t.equal(described.Snapshots.length, 1);
  t.match(described.Snapshots[0], {
    SnapshotId: parent,
    VolumeId: 'vol-ffffffff',
    State: 'completed',
    Progress: '100%',
    VolumeSize: 2,
    Description: 'by aws',
    Encrypted: false,
    Tags: [
      { Key: 'Name', Value: 'disk one' },
      { Key: 'env', Value: 'test' },
    ],
  });
  t.match(await ec2('enable-ebs-encryption-by-default'), { EbsEncryptionByDefault: true });
});
