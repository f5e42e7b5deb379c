import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { connect, Server } from 'node:net';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { listenForCommands } from '../../src/app/fork-control.js';
import { httpSettingsOf } from '../../src/app/observing/http-settings.js';
import { ServerObserver } from '../../src/app/observing/server-observer.js';
import { isLoopbackHost } from '../../src/http/access.js';
import { figureMetrics } from '../../src/http/figure-metrics.js';
import { dispositionOf } from '../../src/http/file-routes.js';
import { openHttpService, type HttpService } from '../../src/http/http-service.js';
import { MapRuns } from '../../src/http/map-runs.js';
import { UsageError } from '../../src/util/errors.js';
import { silentLogger } from '../../src/util/logger.js';
import { ManualClock } from '../fixtures/manual-clock.js';
import { workFolder } from '../fixtures/work-folder.js';

const TOKEN = 'a-token-that-is-long-enough';

interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly text: string;
}

function ask(
  url: string,
  headers: Record<string, string> = {},
  method = 'GET',
  agent: Agent | false = false,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    request(url, { method, headers, agent }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
      );
    })
      .on('error', reject)
      .end();
  });
}

async function service(t: Test, token?: string): Promise<HttpService> {
  const figures = new ServerObserver(new ManualClock(), '1.2.3');
  const options = { host: '127.0.0.1', port: 0, figures, logger: silentLogger };
  const opened = await openHttpService({ ...options, token });
  t.teardown(() => opened.close());
  return opened;
}

t.test('without a token only this machine is answered, by its own names', async (t) => {
  const { url } = await service(t);
  t.equal((await ask(url)).status, 200);
  t.equal((await ask(url, { host: 'evil.example' })).status, 403);
  t.equal((await ask(url, {}, 'POST')).status, 405);
  t.equal((await ask(`${url}nothing`)).status, 404);
  t.equal((await ask(`${url}../../package.json`)).status, 404);
  t.equal((await ask(`${url}readyz`)).status, 503, 'it is starting');
  t.equal((await ask(`${url}healthz`)).text, 'ok\n');
  const status = await ask(`${url}api/status`);
  t.match(JSON.parse(status.text), { version: 1, server: { state: 'starting', version: '1.2.3' } });
  t.match(status.headers['content-security-policy'], /default-src 'none'/);
  for (const host of ['localhost', '127.0.0.1:9809', '[::1]:80']) t.ok(isLoopbackHost(host), host);
  for (const host of ['', '127.0.0.1.evil', '0x7f.1', 'localhost.evil', '[::1'])
    t.notOk(isLoopbackHost(host), host);
});

t.test('with a token it is asked for, and a browser signs in once', async (t) => {
  const { url } = await service(t, TOKEN);
  t.equal((await ask(url)).status, 401);
  t.equal((await ask(`${url}metrics`, { authorization: 'Bearer wrong' })).status, 401);
  t.equal((await ask(`${url}api/status`, { authorization: `Bearer ${TOKEN}`, host: 'any' })).status, 200);
  const signedIn = await ask(`${url}/evil.example/?token=${TOKEN}`);
  t.equal(signedIn.status, 303);
  t.equal(signedIn.headers.location, '/evil.example/', 'it leads to no other host');
  const cookie = String(signedIn.headers['set-cookie']).split(';')[0]!;
  t.notMatch(cookie, TOKEN);
  t.equal((await ask(url, { cookie })).status, 200);
  t.equal((await ask(`${url}healthz`)).status, 200, 'needs none');
});

t.test(
  'a client that the system cannot let in ends nothing, of the page and of what commands are sent to',
  async (t) => {
    const servers: Server[] = [];
    const listen = Object.getOwnPropertyDescriptor(Server.prototype, 'listen')?.value as Server['listen'];
    Server.prototype.listen = function (this: Server, ...args: unknown[]) {
      servers.push(this);
      return Reflect.apply(listen, this, args) as Server;
    };
    t.teardown(() => (Server.prototype.listen = listen));
    const { url } = await service(t);
    const control = await listenForCommands(workFolder(t), () => Promise.reject(new Error('not asked')));
    t.equal(servers.length, 2);
    for (const server of servers) {
      for (let count = 0; count < 2; count += 1) server.emit('error', new Error('accept ENOBUFS'));
    }
    t.equal((await ask(url)).status, 200);
    await control.close();
  },
);

t.test('nothing stays of clients that came and went', async (t) => {
  const opened = await service(t);
  const { hostname, port } = new URL(opened.url);
  const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
  const openPage = async (): Promise<void> => {
    // As a browser asks: over connections that it keeps until it is closed.
    const agent = new Agent({ keepAlive: true });
    for (const path of ['', 'page.js', 'api/status?map=disk'])
      await ask(`${opened.url}${path}`, {}, 'GET', agent);
    agent.destroy();
  };
  await ask(`${opened.url}metrics`);
  await openPage();
  const before = timers();
  for (let round = 0; round < 100; round += 1) await openPage();
  // The ends of connections arrive in their own time.
  while (opened.connectionCount() > 0) await setImmediate();
  t.ok(timers() <= before, 'no timer is left behind');
  const broken = connect(Number(port), hostname);
  await new Promise((resolve) =>
    broken
      .once('close', resolve)
      .on('error', () => undefined)
      .end('\0\0\r\n\r\n'),
  );
  await opened.close();
  t.equal(opened.connectionCount(), 0);
});

t.test('every metric of the dashboard is there', async (t) => {
  const { url } = await service(t);
  const { text } = await ask(`${url}metrics`);
  const dashboard = readFileSync(join(import.meta.dirname, '../../examples/grafana-dashboard.json'), 'utf8');
  t.ok(JSON.parse(dashboard), 'it is JSON');
  const names = new Set(dashboard.match(/snapnbd_\w+/g));
  t.ok(names.size > 10);
  for (const name of names) t.match(text, `# HELP ${name.replace(/_bucket$/, '')} `, name);
  const described = readFileSync(join(import.meta.dirname, '../../docs/METRICS.md'), 'utf8');
  for (const { name } of figureMetrics()) t.match(described, name.replace(/^snapnbd_blocks/, ''), name);
});

t.test('an address that others reach needs a token that cannot be guessed', async (t) => {
  t.throws(() => httpSettingsOf({ address: '0.0.0.0:9809' }), UsageError);
  t.throws(() => httpSettingsOf({ address: '127.0.0.1:9809', token: 'short' }), UsageError);
  t.strictSame(httpSettingsOf({ address: '0.0.0.0:9809', token: TOKEN }), {
    host: '0.0.0.0',
    port: 9809,
    token: TOKEN,
  });
});

t.test('names of files and runs of cells are written so that nothing breaks out', async (t) => {
  t.equal(dispositionOf('a"\r\nb'), `attachment; filename="a___b"; filename*=UTF-8''a%22%0D%0Ab`);
  const runs = new MapRuns();
  for (const letter of 'mmmh') runs.add(letter, 1);
  t.equal(runs.finish(), '3m9h9');
});
