// TLS with the clients that people use: libnbd and QEMU, by certificates and by keys that are shared beforehand.
import { appendFileSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { needsPrograms, needsPython, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { connectAgent } from '../fixtures/nbd-agent.js';
import { mustRun, runProgram } from '../fixtures/run-program.js';
import { type Served, serve } from '../fixtures/serving.js';
import { digestsOfRanges, makeScatteredSnapshot } from '../fixtures/scattered-snapshot.js';
import { writeScatteredImage } from '../fixtures/sparse-file.js';
import { freshSeed } from '../fixtures/seeded.js';
import { seededRanges } from '../fixtures/seeded-ranges.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

/** As libnbd and QEMU look for them in a folder: ca-cert.pem, client-cert.pem, client-key.pem. */
const CERTIFICATES = join(import.meta.dirname, '../fixtures/tls');
const certificate = (name: string): string => join(CERTIFICATES, `${name}.pem`);
const LAPTOP = String.raw`CN=laptop,O=Example\, Ltd,C=GB`;

const SIZE_BYTES = 8 * 2 ** 20;

interface QemuClient {
  /** Options for any program of QEMU. */
  readonly options: readonly string[];
  /** What to open. */
  readonly image: string;
}

function qemuClient(
  served: Served,
  credentials: string,
  by: 'tcp' | 'unix' = 'tcp',
  exportName = 'disk',
): QemuClient {
  const where =
    by === 'tcp' ? `host=127.0.0.1,port=${served.port}` : `path=${served.socket},tls-hostname=localhost`;
  return {
    options: ['--object', `${credentials},id=tls0,endpoint=client`],
    image: `driver=nbd,${where},export=${exportName},tls-creds=tls0`,
  };
}

/** A folder of certificates with other ones, or none, for the client. */
function certificatesOf(folder: string, client?: string): string {
  const path = join(folder, `certificates-${client ?? 'none'}`);
  mkdirSync(path);
  copyFileSync(certificate('ca-cert'), join(path, 'ca-cert.pem'));
  for (const kind of client === undefined ? [] : ['cert', 'key']) {
    copyFileSync(certificate(`${client}-${kind}`), join(path, `client-${kind}.pem`));
    // QEMU looks whether its own certificate would do before it shows it.
    appendFileSync(join(path, 'ca-cert.pem'), readFileSync(certificate(`${client}-ca-cert`)));
  }
  return path;
}

const withCertificates = (uri: string, folder: string): string =>
  `${uri}${uri.includes('?') ? '&' : '?'}tls-certificates=${folder}`;

/** Writes a disk by several connections, reads it back, and has both clients compare it. */
async function copyAndCompare(t: Test, uri: string, qemu: QemuClient): Promise<void> {
  const folder = workFolder(t);
  const [original, copy] = [join(folder, 'original'), join(folder, 'copy')];
  const seed = freshSeed();
  t.comment(`seed ${seed}`);
  writeScatteredImage(original, { sizeBytes: SIZE_BYTES, runs: 20, runBytesMax: 2 ** 20, seed });
  await mustRun('nbdcopy', ['--connections=4', original, uri]);
  await mustRun('nbdcopy', ['--connections=4', '--request-size=1048576', uri, copy]);
  t.equal((await runProgram('cmp', [original, copy])).status, 0, 'libnbd reads what it wrote');
  const compared = await runProgram('qemu-img', [
    'compare',
    ...qemu.options,
    '--image-opts',
    `driver=raw,file.filename=${original}`,
    qemu.image,
  ]);
  t.match(compared, { status: 0, stdout: /identical/ }, 'and QEMU reads the same');
  const patterns = await runProgram('qemu-io', [
    ...qemu.options,
    ...['-c', 'write -P 0x5a 1000 70000', '-c', 'flush', '-c', 'write -z 33000 9000'],
    ...['-c', 'read -P 0x5a 1000 32000', '-c', 'read -P 0 33000 9000', '-c', 'discard 1M 1M'],
    ...['--image-opts', qemu.image],
  ]);
  t.equal(patterns.status, 0, 'QEMU writes', { stderr: patterns.stderr });
  t.notMatch(patterns.stdout, /fail/i);
}

const needs = {
  ...needsPrograms('nbdinfo', 'nbdcopy', 'cmp', 'qemu-img', 'qemu-io'),
  ...needsPython('nbd'),
};

t.test('certificates', needs, async (t) => {
  const folder = workFolder(t);
  const caFile = join(folder, 'ca.pem');
  copyFileSync(certificate('ca-cert'), caFile);
  const serveTls = (name: string): Promise<Served> =>
    serve(t, {
      exports: [`disk=memory:${SIZE_BYTES}`],
      options: [
        ...['--tls', 'require', '--tls-allow', name, '--tls-ca', caFile],
        ...['--tls-cert', certificate('server-cert'), '--tls-key', certificate('server-key')],
      ],
    });
  const [served, other] = await Promise.all([serveTls(LAPTOP), serveTls('CN=another')]);
  const [none, stranger] = [certificatesOf(folder), certificatesOf(folder, 'stranger')];
  const qemu = (dir: string, by?: 'unix'): QemuClient => qemuClient(served, `tls-creds-x509,dir=${dir}`, by);

  await t.test('nbdinfo and qemu-img, by TCP and by the unix socket', async (t) => {
    for (const uri of [served.tcp('disk'), served.unix('disk')]) {
      const info = JSON.parse(await mustRun('nbdinfo', ['--json', withCertificates(uri, CERTIFICATES)]));
      t.match(info, { TLS: true, exports: [{ 'export-name': 'disk', 'export-size': SIZE_BYTES }] }, uri);
    }
    for (const { options, image } of [qemu(CERTIFICATES), qemu(CERTIFICATES, 'unix')]) {
      const info = JSON.parse(
        await mustRun('qemu-img', ['info', '--output=json', ...options, '--image-opts', image]),
      );
      t.match(info, { 'virtual-size': SIZE_BYTES }, image);
    }
  });

  await t.test('copies over four connections, and patterns', async (t) =>
    copyAndCompare(t, withCertificates(served.tcp('disk'), CERTIFICATES), qemu(CERTIFICATES)),
  );

  await t.test(
    'clients without a certificate, with one of another CA, or without TLS are refused',
    async (t) => {
      for (const dir of [none, stranger]) {
        const info = await runProgram('nbdinfo', [withCertificates(served.tcp('disk'), dir)]);
        t.match(info, { status: 1, stdout: '', stderr: /TLS|certificate/ }, `libnbd, ${dir}`);
        const { options, image } = qemu(dir);
        const outcome = await runProgram('qemu-img', ['info', ...options, '--image-opts', image]);
        t.match(outcome, { status: 1, stdout: '', stderr: /TLS/ }, `QEMU, ${dir}`);
      }
      const plain = `nbd://127.0.0.1:${served.port}/disk`;
      t.match(await runProgram('nbdinfo', [plain]), { status: 1, stderr: /not supported/ });
      const outcome = await runProgram('qemu-img', ['info', plain]);
      t.match(
        outcome,
        { status: 1, stderr: /takes no option but STARTTLS before TLS is on/ },
        'QEMU, told why',
      );
    },
  );

  await t.test('--tls-allow: a name that is not among those allowed is told so', async (t) => {
    const { options, image } = qemuClient(other, `tls-creds-x509,dir=${CERTIFICATES}`);
    const outcome = await runProgram('qemu-img', ['info', ...options, '--image-opts', image]);
    t.match(outcome, { status: 1, stderr: /is not among those that are allowed/ });
    const info = await runProgram('nbdinfo', [withCertificates(other.tcp('disk'), CERTIFICATES)]);
    t.match(info, { status: 1, stderr: /server replied with error/ });
  });

  await t.test('SIGHUP: files are read again, and those who are connected stay', async (t) => {
    const agent = await connectAgent(t, withCertificates(served.tcp('disk'), CERTIFICATES));
    copyFileSync(certificate('stranger-ca-cert'), caFile);
    const message = 'certificates and keys were read again';
    process.kill(served.process.pid, 'SIGHUP');
    while (!served.process.stderr().includes(message)) await new Promise((resolve) => setImmediate(resolve));
    const as = (dir: string): ReturnType<typeof runProgram> =>
      runProgram('nbdinfo', ['--size', withCertificates(served.tcp('disk'), dir)]);
    t.match(await as(stranger), { status: 0, stdout: `${SIZE_BYTES}\n` }, 'of the CA that is known now');
    t.match(await as(CERTIFICATES), { status: 1, stdout: '' }, 'of the one before');
    t.match(await agent.read([[0, 512]]), [/^[0-9a-f]{64}$/], 'connected before');
    t.equal(await agent.disconnect(), 0);
  });
});

t.test('keys that are shared beforehand', needs, async (t) => {
  const folder = workFolder(t);
  const write = (name: string, line: string): string => {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, 'keys.psk'), `${line}\n`);
    return join(folder, name, 'keys.psk');
  };
  const key = '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef';
  const right = write('right', `alice:${key}`);
  const wrong = write('wrong', `alice:${key.replace('0', 'f')}`);
  const seed = freshSeed();
  t.comment(`seed ${seed}`);
  const { emulator, snapshotId, original, sizeBytes } = await makeScatteredSnapshot(t, seed);
  const disk = `disk=memory:${SIZE_BYTES}`;
  const serveTls = (mode: string, ...exports: readonly string[]): Promise<Served> =>
    serve(t, { exports, emulator, options: ['--tls', mode, '--tls-psk', right] });
  const [required, optional] = await Promise.all([
    serveTls('require', disk, `root=${snapshotId}`),
    serveTls('on', disk),
  ]);
  const as = (user: string, uri: string, file: string): string =>
    `${uri.replace('://', `://${user}@`)}${uri.includes('?') ? '&' : '?'}tls-psk-file=${file}`;
  const qemu = (served: Served, user: string, dir: string): QemuClient =>
    qemuClient(served, `tls-creds-psk,dir=${join(folder, dir)},username=${user}`);

  await t.test('copies over four connections, and patterns', async (t) => {
    const uri = as('alice', required.unix('disk'), right);
    t.match(JSON.parse(await mustRun('nbdinfo', ['--json', uri])), { TLS: true });
    await copyAndCompare(t, uri, qemu(required, 'alice', 'right'));
  });

  await t.test('a snapshot is read by libnbd, and by QEMU', async (t) => {
    const agent = await connectAgent(t, as('alice', required.tcp('root'), right));
    const ranges = seededRanges(seed, sizeBytes, 200, 2 ** 20);
    t.strictSame(await agent.read(ranges), digestsOfRanges(original, ranges));
    t.equal(await agent.disconnect(), 0);
    const { options, image } = qemuClient(
      required,
      `tls-creds-psk,dir=${join(folder, 'right')},username=alice`,
      'tcp',
      'root',
    );
    const file = `driver=raw,file.filename=${original}`;
    const compared = await runProgram('qemu-img', ['compare', ...options, '--image-opts', file, image]);
    t.match(compared, { status: 0, stdout: /identical/ });
  });

  await t.test('a wrong key, an unknown user and no TLS are refused', async (t) => {
    const uris = [
      as('alice', required.tcp('disk'), wrong),
      as('bob', required.tcp('disk'), right),
      required.tcp('disk').replace('nbds', 'nbd'),
    ];
    for (const uri of uris)
      t.match(await runProgram('nbdinfo', ['--size', uri]), { status: 1, stdout: '' }, uri);
    const { options, image } = qemu(required, 'alice', 'wrong');
    const outcome = await runProgram('qemu-img', ['info', ...options, '--image-opts', image]);
    t.match(outcome, { status: 1, stdout: '', stderr: /TLS/ });
  });

  await t.test('--tls on lets clients choose', async (t) => {
    const plain = optional.tcp('disk');
    t.match(JSON.parse(await mustRun('nbdinfo', ['--json', plain])), { TLS: false });
    const secure = as('alice', plain.replace('nbd:', 'nbds:'), right);
    t.match(JSON.parse(await mustRun('nbdinfo', ['--json', secure])), { TLS: true });
    const { options, image } = qemu(optional, 'alice', 'right');
    await mustRun('qemu-img', ['info', ...options, '--image-opts', image]);
  });
});
