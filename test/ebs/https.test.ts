// TLS, certificate authorities and proxies, on the path of the blocks and on the SDK's.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { EbsError } from '../../src/ebs/errors.js';
import { createHttpSnapshotApi } from '../../src/ebs/http-client.js';
import type { SnapshotApi } from '../../src/ebs/snapshot-api.js';
import { patternBlock } from '../fixtures/fake-snapshot.js';

const TLS = join(import.meta.dirname, '../fixtures/tls');
const CA = join(TLS, 'ca-cert.pem');
const STRANGER_CA = join(TLS, 'stranger-ca-cert.pem');
const SNAPSHOT = 'snap-0123456789abcdef0';
const GET = { snapshotId: SNAPSHOT, blockIndex: 7, blockToken: 't' };
const LIST = { snapshotId: SNAPSHOT, resultsMax: 100 };
const BLOCK = patternBlock(7);
const PAGE = JSON.stringify({ BlockSize: 524_288, VolumeSize: 1, ExpiryTime: 1, Blocks: [] });

async function listen(t: Test, server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return (server.address() as AddressInfo).port;
}

/** An endpoint with the tests' certificate. */
async function endpoint(t: Test): Promise<number> {
  const keys = {
    cert: readFileSync(join(TLS, 'server-cert.pem')),
    key: readFileSync(join(TLS, 'server-key.pem')),
  };
  const server = createHttpsServer(keys, (request, response) => {
    if (request.url?.includes('blockToken') === true) {
      response
        .writeHead(200, { 'x-amz-Data-Length': BLOCK.length, 'content-length': BLOCK.length })
        .end(BLOCK);
    } else response.writeHead(200, { 'content-type': 'application/json' }).end(PAGE);
  });
  return listen(t, server);
}

/** A proxy that knows CONNECT. @returns its port, and what it was asked for. */
async function proxy(t: Test, status = 200): Promise<{ port: number; asked: string[] }> {
  const asked: string[] = [];
  const server = createHttpServer();
  server.on('connect', (request, socket, head) => {
    asked.push(`${request.url ?? ''} ${request.headers['proxy-authorization'] ?? ''}`.trim());
    if (status !== 200) {
      socket.end(`HTTP/1.1 ${status} No\r\n\r\n`);
      return;
    }
    const [host = '', port] = request.url?.split(':') ?? [];
    const upstream = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.write(head);
      upstream.pipe(socket).pipe(upstream);
    });
    for (const end of [socket, upstream]) end.on('error', () => undefined);
    socket.on('close', () => upstream.destroy());
  });
  return { port: await listen(t, server), asked };
}

async function open(t: Test, url: string, env: Record<string, string>): Promise<SnapshotApi> {
  const before = { ...process.env };
  for (const name of ['AWS_CA_BUNDLE', 'HTTPS_PROXY', 'https_proxy', 'NO_PROXY', 'no_proxy'])
    Reflect.deleteProperty(process.env, name);
  Object.assign(process.env, env);
  try {
    const api = await createHttpSnapshotApi({
      region: 'us-east-1',
      credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret' },
      endpointUrl: url,
      inFlightMax: 4,
    });
    t.teardown(() => api.close());
    return api;
  } finally {
    for (const name of Object.keys(env)) Reflect.deleteProperty(process.env, name);
    Object.assign(process.env, before);
  }
}

async function works(t: Test, api: SnapshotApi, message: string): Promise<void> {
  t.equal((await api.listSnapshotBlocks(LIST)).volumeSizeGib, 1, `${message}: the SDK`);
  const blocks = await Promise.all([1, 2, 3].map(() => api.getSnapshotBlock(GET)));
  t.ok(
    blocks.every(({ bytes }) => bytes.equals(BLOCK)),
    `${message}: blocks`,
  );
  t.ok((await api.getSnapshotBlock(GET)).bytes.equals(BLOCK), `${message}: over a connection that was kept`);
}

async function fails(t: Test, api: SnapshotApi, kind: string, message: RegExp): Promise<void> {
  for (const call of [() => api.listSnapshotBlocks(LIST), () => api.getSnapshotBlock(GET)]) {
    const error = await (call() as Promise<unknown>).then(
      () => undefined,
      (thrown: unknown) => thrown as EbsError,
    );
    t.match(error, { kind, message });
  }
}

t.test('certificates: the authorities of AWS_CA_BUNDLE, instead of all others', async (t) => {
  const port = await endpoint(t);
  for (const host of ['localhost', '127.0.0.1']) {
    const url = `https://${host}:${port}`;
    await works(t, await open(t, url, { AWS_CA_BUNDLE: CA }), host);
    await fails(t, await open(t, url, { AWS_CA_BUNDLE: STRANGER_CA }), 'tls', /no trusted TLS connection/);
    await fails(t, await open(t, url, {}), 'tls', /no trusted TLS connection/);
  }
  await t.rejects(open(t, `https://localhost:${port}`, { AWS_CA_BUNDLE: '/nowhere' }), {
    name: 'EnvironmentError',
    message: /Cannot read the certificate authorities in \/nowhere/,
  });
});

t.test('certificates: ca_bundle of the profile', async (t) => {
  const port = await endpoint(t);
  const folder = t.testdir({ config: `[default]\nca_bundle = ${CA}\n` });
  await works(
    t,
    await open(t, `https://localhost:${port}`, { AWS_CONFIG_FILE: `${folder}/config` }),
    'ca_bundle',
  );
});

t.test('[RFC 9110: 9.3.6 CONNECT] HTTPS_PROXY, with a password, and NO_PROXY', async (t) => {
  const port = await endpoint(t);
  const url = `https://localhost:${port}`;
  const { port: proxyPort, asked } = await proxy(t);
  const through = { AWS_CA_BUNDLE: CA, HTTPS_PROXY: `http://user:p%40ss@127.0.0.1:${proxyPort}` };
  await works(t, await open(t, url, through), 'through the proxy');
  t.ok(asked.length >= 2);
  const authorization = Buffer.from('user:p@ss').toString('base64');
  t.ok(asked.every((line) => line === `localhost:${port} Basic ${authorization}`));
  asked.length = 0;
  for (const rule of ['*', 'localhost', 'example.com, .localhost', `localhost:${port}`]) {
    await works(t, await open(t, url, { ...through, NO_PROXY: rule }), `NO_PROXY=${rule}`);
  }
  t.strictSame(asked, []);
  await works(
    t,
    await open(t, url, { ...through, NO_PROXY: 'ocalhost,localhost:1,calhost.' }),
    'other names',
  );
  t.ok(asked.length >= 2);
});

t.test('a proxy that refuses, and one that is none', async (t) => {
  const port = await endpoint(t);
  const url = `https://localhost:${port}`;
  const refusing = await proxy(t, 407);
  const env = { AWS_CA_BUNDLE: CA, HTTPS_PROXY: `http://127.0.0.1:${refusing.port}` };
  await fails(
    t,
    await open(t, url, env),
    'network',
    /the proxy 127\.0\.0\.1:\d+ answered CONNECT .* with status 407/,
  );
  await t.rejects(open(t, url, { HTTPS_PROXY: 'socks5://user:secret@h' }), {
    name: 'EnvironmentError',
    message: /^Cannot use HTTPS_PROXY: write http:\/\/HOST:PORT/,
  });
});
