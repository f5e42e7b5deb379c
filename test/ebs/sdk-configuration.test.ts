// Where the client has its region, endpoint and credentials from.
import { writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import type { AwsClientOptions } from '../../src/ebs/aws-client.js';
import type { EbsError } from '../../src/ebs/errors.js';
import { createSdkSnapshotApi } from '../../src/ebs/sdk-client.js';
import { serviceError, startHttpService } from '../fixtures/http-service.js';
import { ManualClock } from '../fixtures/manual-clock.js';
import { MemoryLog } from '../fixtures/memory-log.js';
import { connect, errorOf, json, LIST } from '../fixtures/sdk-service.js';

/** Runs with these variables, and no other AWS ones, in the environment. */
async function withEnvironment<T>(env: Record<string, string>, run: () => Promise<T>): Promise<T> {
  const before = { ...process.env };
  for (const name of Object.keys(process.env))
    if (name.startsWith('AWS_')) Reflect.deleteProperty(process.env, name);
  Object.assign(process.env, { AWS_EC2_METADATA_DISABLED: 'true' }, env);
  try {
    return await run();
  } finally {
    for (const name of Object.keys(process.env))
      if (!(name in before)) Reflect.deleteProperty(process.env, name);
    Object.assign(process.env, before);
  }
}

function awsFiles(
  t: Test,
  config: string,
  credentials: string,
): { env: Record<string, string>; credentialsFile: string } {
  const folder = t.testdir({ config, credentials });
  const credentialsFile = `${folder}/credentials`;
  return {
    env: { AWS_CONFIG_FILE: `${folder}/config`, AWS_SHARED_CREDENTIALS_FILE: credentialsFile },
    credentialsFile,
  };
}

t.test('credentials that have expired are looked for again', async (t) => {
  const ofKey = (key: string): string =>
    `[default]\naws_access_key_id=${key}\naws_secret_access_key=s\naws_session_token=t\n`;
  const { env, credentialsFile } = awsFiles(t, '[default]\nregion=eu-west-1\n', ofKey('AKIAOLD'));
  const log = new MemoryLog();
  await withEnvironment(env, async () => {
    const clock = new ManualClock(Date.now());
    const { api, service } = await connect(
      t,
      (request, response) => {
        if (request.headers.authorization?.includes('AKIANEW') === true) {
          json(response, 200, { BlockSize: 524_288, VolumeSize: 1, ExpiryTime: 1, Blocks: [] });
        } else
          serviceError(response, 403, 'ExpiredTokenException', { message: 'The security token is expired' });
      },
      { region: undefined, credentials: undefined, clock, logger: log },
    );
    const first = await errorOf(api.listSnapshotBlocks(LIST));
    t.match(first, { kind: 'expired-credentials', retryable: false });
    t.match(first.message, 'expired ("The security token is expired"). Renew them: "aws sso login"');
    writeFileSync(credentialsFile, ofKey('AKIANEW'));
    t.equal((await errorOf(api.listSnapshotBlocks(LIST))).retryable, false, 'not looked for so soon');
    await clock.advance(5000);
    t.equal((await errorOf(api.listSnapshotBlocks(LIST))).retryable, true, 'found');
    await api.listSnapshotBlocks(LIST);
    t.equal(service.requests.length, 4);
    t.equal(log.lines.filter(({ message }) => message.startsWith('found new AWS credentials')).length, 1);
  });
});

t.test('configuration comes from where AWS users have it', async (t) => {
  const config = '[default]\nregion=eu-west-1\n[profile dev]\nregion=eu-north-1\n';
  const keys = 'aws_secret_access_key=s\n';
  const credentials = `[default]\naws_access_key_id=AKIADEFAULT\n${keys}[dev]\naws_access_key_id=AKIADEV\n${keys}`;
  const { env } = awsFiles(t, config, credentials);
  const service = await startHttpService((request, response) => {
    json(response, 200, { BlockSize: 524_288, VolumeSize: 1, ExpiryTime: 1, Blocks: [] });
    scopes.push(
      /Credential=(\w+)\/\d+\/([\w-]+)/
        .exec(request.headers.authorization ?? '')
        ?.slice(1)
        .join(' ') ?? '',
    );
  });
  const scopes: string[] = [];
  t.teardown(() => service.close());
  const call = async (more: Record<string, string>, options: Partial<AwsClientOptions>): Promise<void> =>
    withEnvironment({ ...env, ...more }, async () => {
      const api = await createSdkSnapshotApi({ inFlightMax: 1, ...options });
      await api.listSnapshotBlocks(LIST);
      api.close();
    });
  const endpoint = { AWS_ENDPOINT_URL: service.url };
  await call({ AWS_ENDPOINT_URL_EBS: service.url, AWS_ENDPOINT_URL: 'http://127.0.0.1:1' }, {});
  await call(endpoint, { profile: 'dev' });
  await call({ ...endpoint, AWS_PROFILE: 'dev' }, {});
  await call({ ...endpoint, AWS_REGION: 'us-west-1' }, {});
  await call({ ...endpoint, AWS_DEFAULT_REGION: 'us-west-2' }, {});
  await call({ ...endpoint, AWS_REGION: 'us-west-1' }, { region: 'ap-east-1' });
  await call({ ...endpoint, AWS_ACCESS_KEY_ID: 'AKIAENV', AWS_SECRET_ACCESS_KEY: 's' }, {});
  await call({ ...endpoint, AWS_ACCESS_KEY_ID: 'AKIAENV', AWS_SECRET_ACCESS_KEY: 's' }, { profile: 'dev' });
  await call({ AWS_ENDPOINT_URL_EBS: 'http://127.0.0.1:1' }, { endpointUrl: service.url });
  t.same(scopes, [
    'AKIADEFAULT eu-west-1',
    'AKIADEV eu-north-1',
    'AKIADEV eu-north-1',
    'AKIADEFAULT us-west-1',
    'AKIADEFAULT us-west-2',
    'AKIADEFAULT ap-east-1',
    'AKIAENV eu-west-1',
    'AKIADEV eu-north-1',
    'AKIADEFAULT eu-west-1',
  ]);
});

t.test('the endpoint of the shared files is that of the profile that was named', async (t) => {
  const service = await startHttpService((_request, response) =>
    json(response, 200, { BlockSize: 524_288, VolumeSize: 1, ExpiryTime: 1, Blocks: [] }),
  );
  t.teardown(() => service.close());
  const nowhere = 'endpoint_url = http://127.0.0.1:1\n';
  const config =
    `[default]\nregion = eu-west-1\n${nowhere}[profile dev]\nregion = eu-west-1\nendpoint_url = ${service.url}\n` +
    `[profile split]\nregion = eu-west-1\n${nowhere}services = own\n[services own]\nebs =\n  endpoint_url = ${service.url}\n`;
  const { env } = awsFiles(t, config, '');
  const keys = { AWS_ACCESS_KEY_ID: 'AKIAENV', AWS_SECRET_ACCESS_KEY: 's' };
  const list = (more: Record<string, string>, profile?: string): Promise<unknown> =>
    withEnvironment({ ...env, ...more }, async () => {
      const credentials = { accessKeyId: 'AKIAENV', secretAccessKey: 's' };
      const api = await createSdkSnapshotApi({ inFlightMax: 1, profile, credentials });
      try {
        return await api.listSnapshotBlocks(LIST);
      } finally {
        api.close();
      }
    });
  await list(keys, 'dev');
  await list({ ...keys, AWS_PROFILE: 'dev' });
  await list({ ...keys, AWS_PROFILE: 'default' }, 'split');
  t.equal(service.requests.length, 3);
  t.match(await errorOf(list({ ...keys, AWS_PROFILE: 'dev' }, 'default')), { kind: 'network' });
});

t.test('what is missing is found at the start, in one line', async (t) => {
  const { env } = awsFiles(t, '', '[default]\naws_access_key_id=AKIADEFAULT\naws_secret_access_key=s\n');
  const nothing = awsFiles(t, '', '');
  const start = (more: Record<string, string>, options: Partial<AwsClientOptions>): Promise<EbsError> =>
    withEnvironment(more, () => errorOf(createSdkSnapshotApi({ inFlightMax: 1, ...options })));
  const region = await start(env, {});
  t.match(region, {
    kind: 'no-region',
    message: /^Cannot use the EBS direct APIs: no AWS region is configured\. Give one: --region/,
  });
  const credentials = await start(nothing.env, { region: 'eu-west-1' });
  t.match(credentials, {
    kind: 'no-credentials',
    message: /no AWS credentials were found .* Give some: "aws configure"/,
  });
  const profile = await start(env, { profile: 'nobody' });
  t.match(profile, { kind: 'no-credentials', message: /found by the profile "nobody"/ });
  t.match(await start(env, { region: 'a b' }), { kind: 'no-region', message: /a b/ });
});

t.test('[ec2: Instance metadata] on an instance, its own region and role', async (t) => {
  const { env } = awsFiles(t, '', '');
  const scopes: string[] = [];
  const service = await startHttpService((request, response) => {
    const { url = '', headers, method } = request;
    if (url.startsWith('/snapshots')) {
      scopes.push(
        /Credential=(\w+)\/\d+\/([\w-]+)/
          .exec(headers.authorization ?? '')
          ?.slice(1)
          .join(' ') ?? '',
      );
      json(response, 200, { BlockSize: 524_288, VolumeSize: 1, ExpiryTime: 1, Blocks: [] });
    } else if (url === '/latest/api/token' && method === 'PUT') response.end('token-1');
    else if (headers['x-aws-ec2-metadata-token'] !== 'token-1') response.writeHead(401).end();
    else if (url.endsWith('/placement/region')) response.end('sa-east-1');
    else if (url.endsWith('/security-credentials/')) response.end('role-1');
    else if (url.endsWith('/security-credentials/role-1')) {
      const Expiration = new Date(Date.now() + 3_600_000).toISOString();
      json(response, 200, {
        Code: 'Success',
        AccessKeyId: 'AKIAROLE',
        SecretAccessKey: 's',
        Token: 't',
        Expiration,
      });
    } else response.writeHead(404).end();
  });
  t.teardown(() => service.close());
  const metadata = { AWS_EC2_METADATA_DISABLED: 'false', AWS_EC2_METADATA_SERVICE_ENDPOINT: service.url };
  await withEnvironment({ ...env, ...metadata }, async () => {
    const api = await createSdkSnapshotApi({ inFlightMax: 1, endpointUrl: service.url });
    await api.listSnapshotBlocks(LIST);
    api.close();
  });
  t.same(scopes, ['AKIAROLE sa-east-1']);
});
