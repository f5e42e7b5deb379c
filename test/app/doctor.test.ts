import t from 'tap';
import { examineEndpoint } from '../../src/app/doctor/endpoint.js';
import { examine } from '../../src/app/doctor/examine.js';
import { emulatorFor } from '../fixtures/ebs-emulator.js';
import { CREDENTIALS } from '../fixtures/emulator.js';
import { startHttpService } from '../fixtures/http-service.js';
import { workFolder } from '../fixtures/work-folder.js';

t.test('permissions are told apart without anything that could be changed', async (t) => {
  Object.assign(process.env, CREDENTIALS);
  const dir = workFolder(t);
  const emulator = await emulatorFor(t, {});
  const look = async (): Promise<Map<string, string>> => {
    const findings = await examine({
      api: { endpointUrl: emulator.url },
      forks: { stateDir: dir },
      cacheDir: dir,
      environment: { PATH: dir },
    });
    for (const { detail, remedy } of findings) t.notMatch(`${detail} ${remedy ?? ''}`, /\n|undefined/);
    return new Map(findings.map(({ check, status }) => [check, status]));
  };
  const all = await look();
  for (const check of ['endpoint', 'clock', 'region', 'credentials', 'ebs:GetSnapshotBlock', 'cache folder'])
    t.equal(all.get(check), 'ok', check);
  t.equal(all.get('ec2:DescribeSnapshots'), 'ok');
  t.equal(all.get('encryption by default'), 'ok');
  t.equal(all.get('qemu-img'), 'warn', 'not on this PATH');
  const { operations } = emulator.stats();
  t.strictSame([operations.StartSnapshot.requests, operations.PutSnapshotBlock.requests], [0, 0]);

  emulator.setFaults({ deny: 'ebs:GetSnapshotBlock,ebs:Complete*,ec2:*' });
  const some = await look();
  t.equal(some.get('ebs:ListSnapshotBlocks'), 'ok');
  t.equal(some.get('ebs:GetSnapshotBlock'), 'fail');
  t.equal(some.get('ebs:CompleteSnapshot'), 'warn');
  t.equal(some.get('ec2:DescribeSnapshots'), 'warn');
  t.equal(some.get('encryption by default'), 'skip');

  emulator.setFaults({ deny: 'ec2:GetEbs*' });
  const blind = await look();
  t.equal(blind.get('ec2:DescribeSnapshots'), 'ok');
  t.equal(blind.get('encryption by default'), 'warn');
});

t.test('the clock, and endpoints that cannot be had', async (t) => {
  let date = new Date().toUTCString();
  const service = await startHttpService((_request, response) => {
    response.sendDate = false;
    response.writeHead(403, { date }).end();
  });
  t.teardown(() => service.close());
  const statusOf = async (url: string, check: string): Promise<string | undefined> =>
    (await examineEndpoint(url, undefined, {})).find((finding) => finding.check === check)?.status;
  t.equal(await statusOf(service.url, 'clock'), 'ok');
  date = new Date(Date.now() - 3_600_000).toUTCString();
  t.equal(await statusOf(service.url, 'clock'), 'fail');
  date = 'never';
  t.equal(await statusOf(service.url, 'clock'), 'skip');
  t.equal(await statusOf('http://127.0.0.1:1', 'endpoint'), 'fail');
  t.equal(await statusOf('https://nobody.invalid', 'name server'), 'fail');
  t.equal(await statusOf(service.url.replace('http:', 'https:'), 'endpoint'), 'fail');
});
