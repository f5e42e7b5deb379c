// TLS on real sockets, with the client of Node.js.
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls, type ConnectionOptions, TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { MemoryDevice } from '../../../src/device/memory-device.js';
import { NbdServer, type NbdServerOptions } from '../../../src/nbd/server.js';
import { TlsCredentials, type TlsFiles } from '../../../src/nbd/tls/tls-credentials.js';
import { EnvironmentError } from '../../../src/util/errors.js';
import { ManualClock } from '../../fixtures/manual-clock.js';
import { CMD, contextData, infoData, OPT, optionBytes, REP } from '../../fixtures/nbd-bytes.js';
import { FixedExports } from '../../fixtures/nbd-connection.js';
import { RawNbdClient } from '../../fixtures/nbd-raw-client.js';
import { workFolder } from '../../fixtures/work-folder.js';

const TLS = join(import.meta.dirname, '../../fixtures/tls');
const file = (name: string): string => join(TLS, name);
const SERVER: TlsFiles = { kind: 'x509', certFile: file('server-cert.pem'), keyFile: file('server-key.pem') };
const WITH_CLIENTS: TlsFiles = { ...SERVER, caFile: file('ca-cert.pem') };

/** What a client trusts, and shows. */
const TRUST: ConnectionOptions = { ca: readFileSync(file('ca-cert.pem')), servername: 'localhost' };
const identity = (name: string): ConnectionOptions => ({
  ...TRUST,
  cert: readFileSync(file(`${name}-cert.pem`)),
  key: readFileSync(file(`${name}-key.pem`)),
});

/** A server on a unix socket. */
async function serve(
  t: Test,
  options: Omit<NbdServerOptions, 'exports'>,
): Promise<{ server: NbdServer; path: string }> {
  const path = join(workFolder(t), 's');
  const server = new NbdServer({
    exports: new FixedExports({ disk: new MemoryDevice(2 ** 20) }),
    ...options,
  });
  await server.listen({ kind: 'unix', path });
  t.teardown(() => server.close());
  return { server, path };
}

/** Connects, greets, and asks for TLS. */
async function startTls(path: string, rest: Buffer = Buffer.alloc(0)): Promise<Socket> {
  const socket = connect(path);
  const client = await RawNbdClient.greet(socket);
  client.write(optionBytes(OPT.STARTTLS), rest);
  const [answer] = await client.readAnswers();
  if (answer?.type !== REP.ACK) throw new Error(`refused: ${answer?.type}`);
  socket.removeAllListeners('data');
  return socket;
}

/** Goes on with TLS. @throws when the handshake fails on either side. */
async function encrypt(socket: Socket, options: ConnectionOptions): Promise<RawNbdClient> {
  const secure = connectTls({ socket, ...options });
  await new Promise<void>((resolve, reject) => {
    secure.once('secureConnect', resolve);
    secure.once('error', reject);
    secure.once('close', () => reject(new Error('closed')));
  });
  return new RawNbdClient(secure);
}

/** The stream of a client that is past the handshake of TLS. */
function secureOf(client: RawNbdClient): TLSSocket {
  if (!(client.stream instanceof TLSSocket)) throw new Error('not encrypted');
  return client.stream;
}

/** What GO is answered with over TLS, or what went wrong before. */
async function goOver(path: string, options: ConnectionOptions): Promise<number | string> {
  try {
    const client = await encrypt(await startTls(path), options);
    const answers = await client.option(OPT.GO, infoData('disk'));
    client.stream.destroy();
    return answers.at(-1)!.type;
  } catch {
    return 'failed';
  }
}

t.test(
  '[nbd: NBD_OPT_STARTTLS; nbd-rule 15] goes on encrypted, and has forgotten what was agreed before',
  async (t) => {
    const credentials = await TlsCredentials.load(SERVER);
    const { path } = await serve(t, { tls: { mode: 'on', credentials } });
    const socket = connect(path);
    const plain = await RawNbdClient.greet(socket);
    await plain.option(OPT.EXTENDED_HEADERS);
    await plain.option(OPT.SET_META_CONTEXT, contextData('disk', ['base:allocation']));
    t.match(await plain.option(OPT.STARTTLS), [{ type: REP.ACK }]);
    socket.removeAllListeners('data');
    const client = await encrypt(socket, TRUST);
    t.match(secureOf(client).getProtocol(), /^TLSv1\.[23]$/);
    t.match(await client.option(OPT.STARTTLS), [{ type: REP.ERR_INVALID }], 'a second one');
    const { flags } = await client.go('disk');
    t.equal(flags & (128 | 4096), 0, 'replies are simple again');
    client.send(
      { type: CMD.WRITE, payload: Buffer.alloc(300_000, 7) },
      { type: CMD.READ, length: 300_000, cookie: 1n },
    );
    t.match(await client.readSimple(), { error: 0 });
    t.ok((await client.readSimple(300_000)).payload.equals(Buffer.alloc(300_000, 7)));
    client.send({ type: CMD.DISC });
    await client.ended;
  },
);

t.test(
  '[nbd-rule 15; CVE-2021-3716] what came in the clear behind STARTTLS is never looked at',
  async (t) => {
    const credentials = await TlsCredentials.load(SERVER);
    const exports = new FixedExports({ disk: new MemoryDevice(512) });
    const path = join(workFolder(t), 's');
    const server = new NbdServer({ exports, tls: { mode: 'require', credentials } });
    await server.listen({ kind: 'unix', path });
    t.teardown(() => server.close());
    const injected = Buffer.concat([
      optionBytes(OPT.LIST),
      optionBytes(OPT.GO, infoData('disk')),
      Buffer.alloc(7),
    ]);
    const client = await encrypt(await startTls(path, injected), TRUST);
    t.match(await client.option(OPT.INFO, infoData('disk')), [{ option: OPT.INFO }, { type: REP.ACK }]);
    t.strictSame(exports.asked, ['disk'], 'once, by the client itself');
    client.stream.destroy();
  },
);

t.test('[nbd: FORCEDTLS mode; nbd-rule 16] never TLS_REQD once TLS is on', async (t) => {
  const credentials = await TlsCredentials.load(SERVER);
  const { path } = await serve(t, { tls: { mode: 'require', credentials } });
  const plain = await RawNbdClient.greet(connect(path));
  t.match(await plain.option(OPT.GO, infoData('disk')), [{ type: REP.ERR_TLS_REQD }]);
  plain.stream.destroy();
  t.equal(await goOver(path, TRUST), REP.ACK);
});

t.test('[nbd: TLS versions; nbd-rule 16] 1.2 and newer', async (t) => {
  const credentials = await TlsCredentials.load(SERVER);
  const { path } = await serve(t, { tls: { mode: 'on', credentials } });
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    t.equal(await goOver(path, { ...TRUST, minVersion: version, maxVersion: version }), REP.ACK, version);
  }
  const old = {
    ...TRUST,
    minVersion: 'TLSv1',
    maxVersion: 'TLSv1.1',
    ciphers: 'DEFAULT@SECLEVEL=0',
  } as const;
  t.equal(await goOver(path, old), 'failed');
});

t.test('client certificates are required and checked when there is a CA', async (t) => {
  const credentials = await TlsCredentials.load(WITH_CLIENTS);
  t.equal(credentials.needsClientCertificate, true);
  const { path, server } = await serve(t, { tls: { mode: 'require', credentials } });
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    t.equal(await goOver(path, { ...identity('client'), maxVersion }), REP.ACK);
    t.equal(await goOver(path, { ...TRUST, maxVersion }), 'failed', 'none');
    t.equal(await goOver(path, { ...identity('stranger'), maxVersion }), 'failed', 'one by another CA');
  }
  t.ok(server.connectionCount <= 6);
});

t.test('names narrow who may go on, and the others are told so', async (t) => {
  const credentials = await TlsCredentials.load(WITH_CLIENTS);
  const name = String.raw`CN=laptop,O=Example\, Ltd,C=GB`;
  const allowed = await serve(t, { tls: { mode: 'require', credentials, allowedNames: ['CN=other', name] } });
  t.equal(await goOver(allowed.path, identity('client')), REP.ACK);
  const refused = await serve(t, { tls: { mode: 'require', credentials, allowedNames: ['CN=laptop'] } });
  t.equal(await goOver(refused.path, identity('client')), REP.ERR_POLICY);
});

t.test('keys that are shared beforehand', async (t) => {
  const pskFile = join(workFolder(t), 'keys');
  writeFileSync(pskFile, 'alice:00112233445566778899aabbccddeeff\n');
  const credentials = await TlsCredentials.load({ kind: 'psk', pskFile });
  const { path } = await serve(t, { tls: { mode: 'require', credentials } });
  const as = (identity: string, key: string): ConnectionOptions => ({
    ciphers: 'PSK',
    maxVersion: 'TLSv1.2',
    checkServerIdentity: () => undefined,
    pskCallback: () => ({ identity, psk: Buffer.from(key, 'hex') }),
  });
  t.equal(await goOver(path, as('alice', '00112233445566778899aabbccddeeff')), REP.ACK);
  t.equal(await goOver(path, as('alice', '00112233445566778899aabbccddee00')), 'failed');
  t.equal(await goOver(path, as('bob', '00112233445566778899aabbccddeeff')), 'failed');
  t.equal(await goOver(path, TRUST), 'failed', 'there is no certificate');
});

t.test('certificates are read again without dropping clients', async (t) => {
  const folder = workFolder(t);
  const files = { kind: 'x509', certFile: join(folder, 'cert'), keyFile: join(folder, 'key') } as const;
  const install = (name: string): void => {
    copyFileSync(file(`${name}-cert.pem`), files.certFile);
    copyFileSync(file(`${name}-key.pem`), files.keyFile);
  };
  install('server');
  const credentials = await TlsCredentials.load(files);
  const { path } = await serve(t, { tls: { mode: 'require', credentials } });
  const serialOf = (client: RawNbdClient): string => secureOf(client).getPeerCertificate().serialNumber;
  const before = await encrypt(await startTls(path), TRUST);
  await before.go();
  t.equal(serialOf(before), '01');

  writeFileSync(files.keyFile, 'nonsense');
  await t.rejects(credentials.reload(), EnvironmentError);
  const between = await encrypt(await startTls(path), TRUST);
  t.equal(serialOf(between), '01', 'bad files change nothing');

  install('second-server');
  await credentials.reload();
  const after = await encrypt(await startTls(path), TRUST);
  t.equal(serialOf(after), '02');
  before.send({ type: CMD.FLUSH });
  t.equal((await before.readSimple()).error, 0, 'the first client is still there');
  for (const client of [before, between, after]) client.stream.destroy();
});

t.test('files that are no good are refused at once, in one line', async (t) => {
  const missing = file('missing.pem');
  const rows: [TlsFiles, RegExp][] = [
    [{ ...SERVER, certFile: missing }, /Cannot read .*missing\.pem/],
    [{ ...SERVER, keyFile: file('second-server-key.pem') }, /Cannot use the certificate .* with the key/],
    [{ ...SERVER, certFile: file('server-key.pem') }, /certificate/],
    [{ ...SERVER, caFile: file('make.sh') }, /Cannot find a certificate in .*make\.sh/],
    [{ kind: 'psk', pskFile: file('make.sh') }, /line 1 is not user:hexkey/],
  ];
  for (const [files, message] of rows) {
    await t.rejects(TlsCredentials.load(files), EnvironmentError);
    await t.rejects(TlsCredentials.load(files), { message });
  }
});

t.test(
  '[nbd-rule 19] clients that stall or talk nonsense in the handshake of TLS keep no place',
  async (t) => {
    const credentials = await TlsCredentials.load(SERVER);
    const { path, server } = await serve(t, {
      tls: { mode: 'require', credentials },
      limits: { handshakeTimeoutMs: 50 },
    });
    const stalled = await startTls(path);
    const noisy = await startTls(path);
    noisy.write('this is not a ClientHello');
    const gone = await startTls(path);
    gone.destroy();
    await Promise.all(
      [stalled, noisy].map(async (socket) => {
        socket.resume();
        if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
      }),
    );
    while (server.connectionCount > 0) await new Promise((resolve) => setImmediate(resolve));
    t.equal(await goOver(path, TRUST), REP.ACK, 'and others are served');
  },
);

t.test(
  '[nbd-rule 19] a client that hangs up its side within the handshake of TLS is gone at once',
  async (t) => {
    const credentials = await TlsCredentials.load(SERVER);
    // No clock is turned: only the ends of the clients can end this.
    const clock = new ManualClock();
    const { path, server } = await serve(t, { clock, tls: { mode: 'require', credentials } });
    // The first bytes of a message of the handshake that announces 512 of them.
    const beginning = Buffer.from([22, 3, 1, 2, 0, 1]);
    const afterAll = await startTls(path);
    afterAll.end();
    const afterSome = await startTls(path);
    afterSome.end(beginning);
    const later = await startTls(path);
    later.write(beginning, () => setImmediate(() => later.end()));
    const withTheOption = connect(path);
    const client = await RawNbdClient.greet(withTheOption);
    client.stream.end(optionBytes(OPT.STARTTLS));
    while (server.connectionCount > 0) await new Promise((resolve) => setImmediate(resolve));
    for (const socket of [afterAll, afterSome, later, withTheOption]) socket.destroy();
    const last = await encrypt(await startTls(path), TRUST);
    await last.go('disk');
    last.send({ type: CMD.READ, length: 100_000 });
    last.stream.end();
    t.match(await last.readSimple(100_000), { error: 0 }, 'and later on a last reply is still sent');
  },
);
