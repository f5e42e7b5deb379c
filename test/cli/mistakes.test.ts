// Each mistake that a user can make gives one line with what to do, and its exit status.
import { createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { runCommandLine } from '../../src/cli/run.js';
import { runCli } from '../fixtures/cli.js';
import { workFolder } from '../fixtures/work-folder.js';

const ID = 'snap-0123456789abcdef0';

/** No configuration of this machine's user may be found, nor an instance's metadata. */
const NO_AWS = {
  AWS_CONFIG_FILE: '/nonexistent/config',
  AWS_SHARED_CREDENTIALS_FILE: '/nonexistent/credentials',
  AWS_EC2_METADATA_DISABLED: 'true',
  AWS_REGION: '',
  AWS_DEFAULT_REGION: '',
  AWS_PROFILE: '',
  AWS_ACCESS_KEY_ID: '',
  AWS_SECRET_ACCESS_KEY: '',
  AWS_ENDPOINT_URL: '',
  AWS_ENDPOINT_URL_EBS: '',
};
const DUMMY_KEYS = { AWS_ACCESS_KEY_ID: 'x', AWS_SECRET_ACCESS_KEY: 'y', AWS_REGION: 'us-east-1' };

interface Mistake {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly status: 1 | 2;
  readonly says: RegExp;
}

const MISTAKES: readonly Mistake[] = [
  { args: ['--bogus'], status: 2, says: /Unknown option '--bogus'/ },
  { args: ['serv'], status: 2, says: /Unknown command 'serv' \(Did you mean serve\?\)/ },
  { args: ['serve'], status: 2, says: /Cannot serve nothing: name an EXPORT/ },
  { args: ['serve', '--cache-memroy', '1', ID], status: 2, says: /Did you mean --cache-memory\?/ },
  { args: ['serve', 'snap-123'], status: 2, says: /"snap-123" as a snapshot id/ },
  { args: ['history', 'vol-1'], status: 2, says: /"vol-1": name a volume, .* or one of its snapshots/ },
  { args: ['history', 'vol-ffffffff'], status: 2, says: /snapshots that were made of no volume/ },
  {
    args: ['history', ID, '--limit', '0'],
    status: 2,
    says: /--limit 0: write a whole number from 1 to 1000/,
  },
  { args: ['history', ID, '--partition', '1'], status: 2, says: /--partition alone/ },
  { args: ['serve', 'vol-1'], status: 2, says: /write snap-ID or NAME=SOURCE/ },
  { args: ['serve', 'a=memory:12x'], status: 2, says: /"12x" as a size/ },
  { args: ['serve', 'a=memory:100'], status: 2, says: /multiple of 512/ },
  { args: ['serve', 'a=memory:1M', 'a=memory:1M'], status: 2, says: /two exports named "a"/ },
  { args: ['serve', ID, '--listen', 'nowhere'], status: 2, says: /Cannot listen on "nowhere"/ },
  { args: ['serve', ID, '--listen', '127.0.0.1:99999'], status: 2, says: /Cannot listen on/ },
  { args: ['serve', ID, '--log-level', 'loud'], status: 2, says: /Allowed choices are debug, info/ },
  { args: ['serve', ID, '--cache-memory', 'lots'], status: 2, says: /"lots" as a size/ },
  { args: ['serve', ID, '--cache-size', '1GiB'], status: 2, says: /--cache-size alone.*--cache-dir/ },
  { args: ['serve', ID, '--hydrate'], status: 2, says: /--hydrate alone.*--cache-dir/ },
  { args: ['serve', ID, '--cache-dir', ''], status: 2, says: /"" as --cache-dir/ },
  { args: ['serve', ID, '--cache-dir', 'x', '--cache-size', '1M'], status: 2, says: /at least 32 MiB/ },
  { args: ['serve', ID, '--read-ahead', 'much'], status: 2, says: /Allowed choices are on, off/ },
  {
    args: ['serve', ID, '--cache-dir', '/dev/null'],
    env: DUMMY_KEYS,
    status: 1,
    says: /Cannot keep blocks in "\/dev\/null"/,
  },
  { args: ['serve', ID, '--endpoint-url', 'localhost:1'], status: 2, says: /as --endpoint-url/ },
  { args: ['serve', ID, '--retry-timeout', '0'], status: 2, says: /--retry-timeout/ },
  { args: ['serve', ID, '--max-inflight', '0'], status: 2, says: /--max-inflight 0: .* from 1 to 1024/ },
  { args: ['serve', ID, '--max-inflight', '1.5'], status: 2, says: /--max-inflight 1\.5/ },
  { args: ['serve', ID, '--get-rate', '-1'], status: 2, says: /--get-rate/ },
  { args: ['serve', ID, '--max-cost', '0'], status: 2, says: /--max-cost 0: write a number above 0/ },
  { args: ['serve', ID, '--prices', 'read=1'], status: 2, says: /--prices read=1: write dollars/ },
  { args: ['serve', ID, '--emulator', 'x', '--region', 'y'], status: 2, says: /cannot be used with/ },
  { args: ['serve', 'a=memory:1M', '--listen', '0.0.0.0:0'], status: 2, says: /--tls require.*--insecure/ },
  {
    args: ['serve', 'a=memory:1M', '--listen', '[::]:0', '--tls', 'on', '--tls-psk', 'x'],
    status: 2,
    says: /--insecure/,
  },
  {
    args: ['serve', 'a=memory:1M', '--tls', 'on'],
    status: 2,
    says: /--tls-cert and --tls-key, or --tls-psk/,
  },
  { args: ['serve', 'a=memory:1M', '--tls', 'on', '--tls-cert', 'x'], status: 2, says: /--tls-key/ },
  { args: ['serve', 'a=memory:1M', '--tls-psk', 'x'], status: 2, says: /TLS is off: add --tls require/ },
  {
    args: ['serve', 'a=memory:1M', '--tls', 'on', '--tls-psk', 'x', '--tls-ca', 'y'],
    status: 2,
    says: /cannot be used with/,
  },
  {
    args: ['serve', 'a=memory:1M', '--tls', 'on', '--tls-cert', 'x', '--tls-key', 'y', '--tls-allow', 'CN=z'],
    status: 2,
    says: /without --tls-ca/,
  },
  {
    args: ['serve', 'a=memory:1M', '--tls', 'on', '--tls-psk', '/nonexistent'],
    status: 1,
    says: /\/nonexistent/,
  },
  { args: ['serve', 'a=memory:1M', '--unix-mode', '999'], status: 2, says: /three octal digits/ },
  { args: ['serve', 'a=memory:1M', '--max-connections', '0'], status: 2, says: /from 1 to 65536/ },
  {
    args: ['serve', 'a=memory:1M', '--listen', '127.0.0.1:0', '--listen', '127.0.0.1:0'],
    status: 2,
    says: /one address twice/,
  },
  { args: ['info', 'snap-xyz'], status: 2, says: /"snap-xyz" as a snapshot id/ },
  { args: ['info'], status: 2, says: /Missing required argument 'SNAP'/ },
  { args: ['info', ID], status: 1, says: /region/i },
  { args: ['info', ID], env: { AWS_REGION: 'us-east-1' }, status: 1, says: /credentials/i },
  { args: ['serve', ID], env: { AWS_REGION: 'us-east-1' }, status: 1, says: /credentials/i },
  {
    args: ['info', ID, '--profile', 'nobody'],
    env: { AWS_REGION: 'us-east-1' },
    status: 1,
    says: /profile.*nobody|nobody.*profile/i,
  },
  {
    args: ['info', ID, '--endpoint-url', 'http://127.0.0.1:1', '--retry-timeout', '300ms'],
    env: DUMMY_KEYS,
    status: 1,
    says: /127\.0\.0\.1:1/,
  },
  { args: ['info', ID, '--emulator', '/nonexistent/folder'], status: 1, says: /\/nonexistent\/folder/ },
];

for (const { args, env = {}, status, says } of MISTAKES) {
  t.test(`snapnbd ${args.join(' ')}`, async (t) => {
    setEnvironment(t, { ...NO_AWS, ...env });
    const ending = await runCommandLine(args);
    t.equal(ending.exitStatus, status, 'exit status');
    t.match(ending.line, /^snapnbd: [^\n]+$/, 'one line');
    t.match(ending.line, says);
    t.notMatch(ending.line, /unexpected error/);
  });
}

/** Sets variables until the test ends; an empty value stands for none. */
function setEnvironment(t: Test, values: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(values)) {
    const before = process.env[name];
    if (value === '') Reflect.deleteProperty(process.env, name);
    else process.env[name] = value;
    t.teardown(() => {
      if (before === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = before;
    });
  }
}

t.test('the program itself: the line on stderr, the status, nothing on stdout', async (t) => {
  t.strictSame(await runCli(t, ['serve', 'snap-123']), {
    status: 2,
    stdout: '',
    stderr:
      'snapnbd: Cannot use "snap-123" as a snapshot id: ' +
      'it is snap- and 17 (or 8) hexadecimal digits, such as snap-0123456789abcdef0.\n',
  });
});

t.test('a port that is in use', async (t) => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  t.teardown(() => taken.close());
  const { port } = taken.address() as { port: number };
  const ending = await runCommandLine(['serve', 'm=memory:1M', '--listen', `127.0.0.1:${port}`]);
  t.equal(ending.exitStatus, 1);
  t.match(ending.line, new RegExp(`^snapnbd: .*127\\.0\\.0\\.1:${port}.*$`));
});

t.test('a snapshot that does not exist, in a folder that does', async (t) => {
  const dir = join(workFolder(t), 'emulator');
  const made = await runCli(t, ['emulator', 'synth', '--dir', dir, '--size', '1GiB', '--seed', '1']);
  t.equal(made.status, 0, made.stderr);
  for (const command of ['info', 'serve']) {
    const ending = await runCommandLine([command, ID, '--emulator', dir]);
    t.equal(ending.exitStatus, 1);
    t.match(ending.line, new RegExp(`^snapnbd: Cannot .*${ID}.*$`));
  }
});
