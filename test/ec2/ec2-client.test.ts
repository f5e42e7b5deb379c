import t, { type Test } from 'tap';
import { createEc2Api } from '../../src/ec2/ec2-client.js';
import { NO_VOLUME_ID, type Ec2Api } from '../../src/ec2/ec2-api.js';
import { retryEc2 } from '../../src/ec2/ec2-retry.js';
import { findSnapshots } from '../../src/ec2/find-snapshots.js';
import { loadEc2Sdk } from '../../src/ec2/load-sdk.js';
import { EbsError, EbsErrorKind, isEbsError } from '../../src/ebs/errors.js';
import { listSnapshots } from '../../src/emulator/list-snapshots.js';
import { createSynth } from '../../src/emulator/synth/create-synth.js';
import { EnvironmentError } from '../../src/util/errors.js';
import { emulatorFor } from '../fixtures/ebs-emulator.js';
import { emulatedApi } from '../fixtures/emulated-api.js';
import { startHttpService } from '../fixtures/http-service.js';
import { ManualClock } from '../fixtures/manual-clock.js';
import { workFolder } from '../fixtures/work-folder.js';

const CREDENTIALS = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret' };

async function apiFor(t: Test, endpointUrl: string, region = 'us-east-1'): Promise<Ec2Api> {
  const api = await createEc2Api({ endpointUrl, region, credentials: CREDENTIALS });
  t.teardown(() => api.close());
  return api;
}

function refusal(code: string, message: string): string {
  return `<Response><Errors><Error><Code>${code}</Code><Message>${message}</Message></Error></Errors><RequestID>r</RequestID></Response>`;
}

t.test('[ec2: DescribeSnapshots] what the emulator has, by the real SDK', async (t) => {
  const { dir, emulator, api: ebs } = await emulatedApi(t);
  const synth = await createSynth({ dir, volumeSizeGib: 3, fill: 0.1 });
  const tags = { Name: 'prod-<1>', 'weird key': `"&'` };
  const started = await ebs.startSnapshot({
    volumeSizeGib: 2,
    description: 'nightly <&>',
    tags,
    clientToken: 'a',
  });
  const api = await apiFor(t, emulator.url);
  t.equal(api.region, 'us-east-1');

  const { snapshots, nextToken } = await api.describeSnapshots({ owners: ['self'] });
  t.equal(nextToken, undefined);
  const byId = new Map(snapshots.map((snapshot) => [snapshot.snapshotId, snapshot]));
  t.match(byId.get(started.snapshotId), {
    state: 'pending',
    volumeId: NO_VOLUME_ID,
    volumeSizeGib: 2,
    description: 'nightly <&>',
    ownerId: '123456789012',
    ownerAlias: undefined,
    progressPercent: 0,
    isEncrypted: false,
    kmsKeyId: undefined,
    storageTier: 'standard',
  });
  t.strictSame(byId.get(started.snapshotId)?.tags, tags);
  const [listed] = (await listSnapshots(dir)).filter(({ snapshotId }) => snapshotId === synth);
  t.match(byId.get(synth), {
    state: 'completed',
    volumeId: synth.replace('snap-', 'vol-'),
    progressPercent: 100,
    startTimeMs: Date.parse(listed?.startTime ?? ''),
  });

  const idsOf = async (name: string, ...values: string[]): Promise<readonly string[]> =>
    (await findSnapshots(api, { filters: [{ name, values }] })).map(({ snapshotId }) => snapshotId);
  t.strictSame(await idsOf('tag:Name', 'prod-*'), [started.snapshotId]);
  t.strictSame(await idsOf('tag:Name', 'stage-*', '?rod-<?>'), [started.snapshotId]);
  t.strictSame(await idsOf('tag-key', 'weird*'), [started.snapshotId]);
  t.strictSame(await idsOf('status', 'completed'), [synth]);
  t.strictSame(await idsOf('volume-id', synth.replace('snap-', 'vol-')), [synth]);
  t.strictSame(await idsOf('tag:Nam', 'prod-*'), []);
  t.strictSame((await api.describeSnapshots({ snapshotIds: [synth] })).snapshots, [byId.get(synth)]);
  t.strictSame((await api.describeSnapshots({ owners: ['amazon'] })).snapshots, []);

  await t.rejects(api.describeSnapshots({ snapshotIds: ['snap-0123456789abcdef0'] }), {
    kind: EbsErrorKind.NotFound,
    message:
      "Cannot list snapshots: The snapshot 'snap-0123456789abcdef0' does not exist. Check the id and the region (us-east-1).",
  });
  await t.rejects(idsOf('colour', 'red'), { message: /The filter 'colour' is invalid/ });
  await t.rejects(api.describeSnapshots({ snapshotIds: [synth], resultsMax: 5 }), {
    message: /maxResults/,
  });
});

t.test('pages: the newest first, whatever order they come in, and only so many', async (t) => {
  const dir = workFolder(t);
  const ids: string[] = [];
  const clock = new ManualClock();
  for (let seed = 0; seed < 13; seed += 1) {
    ids.unshift(await createSynth({ dir, volumeSizeGib: 1, fill: 0, seed, clock }));
    await clock.advance(1);
  }
  const emulator = await emulatorFor(t, { dir });
  const api = await apiFor(t, emulator.url);
  const first = await api.describeSnapshots({ resultsMax: 5 });
  t.equal(first.snapshots.length, 5);
  const second = await api.describeSnapshots({ resultsMax: 5, nextToken: first.nextToken! });
  const third = await api.describeSnapshots({ resultsMax: 5, nextToken: second.nextToken! });
  t.equal(third.nextToken, undefined);
  const seen = [first, second, third].flatMap(({ snapshots }) => snapshots.map((one) => one.snapshotId));
  t.strictSame([...seen].sort(), [...ids].sort());
  const newest = await findSnapshots(api, { countMax: 4 });
  t.strictSame(
    newest.map(({ snapshotId }) => snapshotId),
    ids.slice(0, 4),
  );
  const odd = await findSnapshots(api, { accept: ({ snapshotId }) => snapshotId === ids[7] });
  t.equal(odd.length, 1);
  t.equal(emulator.stats().ec2.DescribeSnapshots, 5);
  await t.rejects(api.describeSnapshots({ resultsMax: 4 }), { message: /MaxResults/ });
  await t.rejects(api.describeSnapshots({ nextToken: 'x' }), { message: /NextToken/ });
});

t.test('[ec2: EnableEbsEncryptionByDefault] by region, and what StartSnapshot makes of it', async (t) => {
  const { emulator, api: ebs } = await emulatedApi(t);
  const here = await apiFor(t, emulator.url);
  const there = await apiFor(t, emulator.url, 'eu-west-1');
  t.strictSame(await here.getEncryptionByDefault(), { isEnabled: false });
  t.strictSame(await here.setEncryptionByDefault(true), { isEnabled: true });
  t.strictSame(await here.getEncryptionByDefault(), { isEnabled: true });
  t.strictSame(await there.getEncryptionByDefault(), { isEnabled: false });
  t.equal(await here.getDefaultKmsKeyId(), 'alias/aws/ebs');
  await ebs.startSnapshot({ volumeSizeGib: 1, clientToken: 'a' });
  t.strictSame(await here.setEncryptionByDefault(false), { isEnabled: false });
  await ebs.startSnapshot({ volumeSizeGib: 1, clientToken: 'b' });
  const made = (await findSnapshots(here, {})).map(({ isEncrypted }) => isEncrypted);
  t.strictSame(made.sort(), [false, true]);
  const regions = await here.describeRegions();
  t.strictSame(
    regions.find(({ name }) => name === 'eu-west-1'),
    { name: 'eu-west-1', endpoint: 'ec2.eu-west-1.amazonaws.com' },
  );
});

t.test('rights that are missing: the permission to ask for; nothing is tried twice', async (t) => {
  const { emulator } = await emulatedApi(t, { deny: 'ec2:Describe*' });
  const api = await apiFor(t, emulator.url);
  await t.rejects(api.describeSnapshots({}), {
    kind: EbsErrorKind.AccessDenied,
    message: /^Cannot list snapshots: access was denied .*Allow ec2:DescribeSnapshots to this identity\.$/,
  });
  t.equal(emulator.stats().ec2.DescribeSnapshots, 1);
  t.strictSame(await api.getEncryptionByDefault(), { isEnabled: false });
});

t.test('throttling and failing are waited out; what does not end is given up', async (t) => {
  const answers = [
    [503, refusal('RequestLimitExceeded', 'Request limit exceeded.')],
    [500, refusal('InternalError', 'oops')],
    [200, '<GetEbsDefaultKmsKeyIdResponse><kmsKeyId>k</kmsKeyId></GetEbsDefaultKmsKeyIdResponse>'],
  ] as const;
  let count = 0;
  const service = await startHttpService((_request, response) => {
    const [status, body] = answers[Math.min(count, 2)]!;
    count += 1;
    response.writeHead(status, { 'content-type': 'text/xml' }).end(body);
  });
  t.teardown(() => service.close());
  const api = await apiFor(t, service.url);
  t.equal(await api.getDefaultKmsKeyId(), 'k');
  t.equal(count, 3);
  const gone = new AbortController();
  gone.abort(new Error('no longer wanted'));
  await t.rejects(api.describeRegions({ signal: gone.signal }), { message: 'no longer wanted' });

  const clock = new ManualClock();
  const failing = (kind: EbsErrorKind): Promise<number> => {
    let tries = 0;
    const call = (): Promise<never> => {
      tries += 1;
      return Promise.reject(new EbsError('no', { kind }));
    };
    return clock.run(
      retryEc2({ clock, retryTotalMs: 1000, random: () => 1 }, undefined, call).catch(() => tries),
    );
  };
  t.equal(await failing(EbsErrorKind.Server), 5, '50, 100, 200 and 400 ms');
  t.equal(await failing(EbsErrorKind.ThrottledAccount), 4, '100, 200 and 400 ms');
  t.equal(await failing(EbsErrorKind.AccessDenied), 1);
});

t.test('answers that are not those of EC2', async (t) => {
  let body = '<html><body>It works!</body></html>';
  const service = await startHttpService((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end(body);
  });
  t.teardown(() => service.close());
  const api = await apiFor(t, service.url);
  const answer = await api.getDefaultKmsKeyId().catch((thrown: unknown) => thrown);
  t.ok(isEbsError(answer, EbsErrorKind.ContractViolation), String(answer));
  body =
    '<DescribeSnapshotsResponse><snapshotSet><item><snapshotId>../../etc</snapshotId></item></snapshotSet></DescribeSnapshotsResponse>';
  const error = await api.describeSnapshots({}).catch((thrown: unknown) => thrown);
  t.ok(error instanceof EbsError);
  t.match((error as EbsError).message, /--ec2-endpoint-url leads to EC2/);
});

t.test('the optional package is missing: the command that installs it', async (t) => {
  const missing = Object.assign(new Error("Cannot find package '@aws-sdk/client-ec2' imported from x"), {
    code: 'ERR_MODULE_NOT_FOUND',
  });
  const error = await loadEc2Sdk(() => Promise.reject(missing)).catch((thrown: unknown) => thrown);
  t.ok(error instanceof EnvironmentError);
  t.match((error as Error).message, /npm install --global @aws-sdk\/client-ec2/);
  const broken = new Error('something else');
  await t.rejects(
    loadEc2Sdk(() => Promise.reject(broken)),
    broken,
  );
});
