// Files by HTTP, with a disk that the test has in its hand.
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import t, { type Test } from 'tap';
import { keyOf, nameOfKey, pathOfKeys } from '../../src/app/observing/browsed-names.js';
import { ExportBrowser } from '../../src/app/observing/export-browser.js';
import { OpenedFilesystems } from '../../src/app/observing/opened-filesystems.js';
import { ServerObserver } from '../../src/app/observing/server-observer.js';
import { ExportRegistry } from '../../src/app/export-registry.js';
import { isOpenToMachine } from '../../src/app/listening.js';
import { MemoryDevice } from '../../src/device/memory-device.js';
import type { Filesystem } from '../../src/files/filesystem.js';
import { BrowseError, type FileBrowser } from '../../src/http/file-browser.js';
import { openHttpService } from '../../src/http/http-service.js';
import { ManualClock } from '../fixtures/manual-clock.js';
import { MemoryLog } from '../fixtures/memory-log.js';

const PIECE_BYTES = 1024 * 1024;

/** A file without an end, as far as the test is concerned, and what became of its readers. */
class EndlessFile implements FileBrowser {
  readonly sizeBytes = 1024 ** 4;
  pieceCount = 0;
  failure: Error | undefined;
  /** The last one that began. */
  reading: Promise<void> = Promise.resolve();
  signal: AbortSignal | undefined;

  list(): ReturnType<FileBrowser['list']> {
    return Promise.reject(new BrowseError(404, 'No export is named "x".'));
  }

  read(...[, signal, use]: Parameters<FileBrowser['read']>): Promise<void> {
    this.signal = signal;
    this.reading = use({ name: 'endless', sizeBytes: this.sizeBytes, chunks: this.#chunks(signal) });
    return this.reading;
  }

  async *#chunks(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    while (this.pieceCount < 1000) {
      await Promise.resolve();
      signal.throwIfAborted();
      this.pieceCount += 1;
      yield new Uint8Array(PIECE_BYTES);
      if (this.failure !== undefined) throw this.failure;
    }
  }
}

async function serviceOf(t: Test, files: FileBrowser): Promise<{ readonly url: string; log: MemoryLog }> {
  const log = new MemoryLog();
  const figures = new ServerObserver(new ManualClock(), '1.2.3');
  const service = await openHttpService({ host: '127.0.0.1', port: 0, figures, files, logger: log });
  t.teardown(() => service.close());
  return { url: service.url, log };
}

async function begin(url: string, method = 'GET'): Promise<IncomingMessage> {
  const asked = request(url, { method, agent: false }).end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  return response;
}

t.test('a download is read no faster than its client takes it, and ends when the client goes', async (t) => {
  const file = new EndlessFile();
  const { url, log } = await serviceOf(t, file);
  const head = await begin(`${url}download`, 'HEAD');
  t.equal(head.headers['content-length'], String(file.sizeBytes));
  t.equal(file.pieceCount, 0, 'nothing is read for the headers alone');
  const response = await begin(`${url}download`);
  // It is answered meanwhile, many times over, while what the client does not take stays where it is.
  for (let round = 0; round < 50; round += 1) (await begin(`${url}healthz`)).resume();
  t.ok(file.pieceCount < 64, `${file.pieceCount} MiB were read for a client that takes none`);
  response.destroy();
  await t.rejects(file.reading);
  t.match(file.signal?.reason, { message: /client is gone/ });
  t.strictSame(log.at('warn'), []);
});

t.test('a download that breaks off is short for the client, and its reason is in the log', async (t) => {
  const file = new EndlessFile();
  file.failure = new Error('the block is damaged');
  const { url, log } = await serviceOf(t, file);
  const response = await begin(`${url}download`);
  await t.rejects(response.resume().toArray(), { code: 'ECONNRESET' });
  t.match(log.at('warn'), [{ message: 'a download broke off', fields: { error: 'the block is damaged' } }]);
});

t.test('no more are read at once than a few, and refusals are JSON', async (t) => {
  const { url } = await serviceOf(t, new EndlessFile());
  const readers = await Promise.all(Array.from({ length: 8 }, () => begin(`${url}download`)));
  const refused = await begin(`${url}api/files`);
  t.equal(refused.statusCode, 503);
  t.match(refused.headers['content-type'], /json/);
  refused.resume();
  for (const reader of readers) reader.destroy();
  let { statusCode } = refused;
  while (statusCode === 503) statusCode = (await begin(`${url}api/files`)).resume().statusCode;
  t.equal(statusCode, 404, 'their places are free again');
});

t.test('what stands for a name is one name, whatever its bytes', async (t) => {
  for (const name of [
    Buffer.from('naïve'),
    Buffer.from([0xff, 0x0a]),
    Buffer.from('%2e%2e'),
    Buffer.from('\\'),
  ])
    t.ok(nameOfKey(keyOf(name)).equals(name), name.toString('hex'));
  const bad = ['', '.', '..', '/', 'a/b', '../x', '/2e', '/2e2e', '/2f', '/00', 'a\0', 'x'.repeat(256), '/6'];
  for (const key of bad) t.throws(() => nameOfKey(key), BrowseError, key);
  t.equal(pathOfKeys(['a', '/ff']).toString('latin1'), '/a/\xff');
});

t.test('filesystems are kept opened within bounds, and only while their disk is served', async (t) => {
  const opened = new OpenedFilesystems();
  const [device, other] = [new MemoryDevice(4096), new MemoryDevice(4096)];
  const withJournal = (journalBlockCount: number): Filesystem => ({ journalBlockCount }) as Filesystem;
  for (let index = 0; index < 20; index += 1) {
    opened.add(`${index}`, { device, filesystem: withJournal(0) });
    opened.get('0', device);
  }
  t.equal(opened.count, 8);
  t.ok(opened.get('0', device), 'what is used stays');
  t.notOk(opened.get('0', other), 'another disk of the same name has files of its own');
  opened.add('large', { device, filesystem: withJournal(200_000) });
  opened.add('larger', { device: other, filesystem: withJournal(200_000) });
  t.notOk(opened.get('large', device));
  opened.add('largest', { device: other, filesystem: withJournal(1_000_000) });
  t.equal(opened.count, 0);
  opened.add('last', { device, filesystem: withJournal(0) });
  opened.keepOnly(new Set([other]));
  t.equal(opened.count, 0);
});

t.test('a browser of exports gives their devices back, and stops with the server', async (t) => {
  const browser = new ExportBrowser();
  const place = { exportName: 'disk', path: [] };
  const { signal } = new AbortController();
  await t.rejects(browser.list(place, 0, signal), { message: /no files now/ });
  const memory = new MemoryDevice(1024 * 1024);
  const failing = { sizeBytes: 512, read: () => Promise.reject(new Error('no answer')) };
  const readOnly = { sizeBytes: memory.sizeBytes, read: memory.read.bind(memory) };
  const registry = new ExportRegistry([
    { name: 'disk', device: readOnly },
    { name: 'failing', device: failing },
    { name: 'written', device: memory },
  ]);
  browser.show(registry);
  t.match(await browser.list(place, 0, signal), { entries: [{ key: 'disk', kind: 'other' }], next: null });
  await t.rejects(browser.list({ ...place, path: ['disk'] }, 0, signal), {
    message: /no signature is known/,
  });
  await t.rejects(browser.list({ ...place, path: ['9'] }, 0, signal), { message: /has no part/ });
  await t.rejects(browser.list({ ...place, exportName: 'failing' }, 0, signal), { message: 'no answer' });
  await t.rejects(browser.list({ ...place, exportName: 'written' }, 0, signal), {
    message: /can be written/,
  });
  t.equal(registry.leaseCount, 0);
  await browser.close();
  await t.rejects(browser.list(place, 0, signal), { message: /no files now/ });
});

t.test('who can read the disks anyway needs no token for their files', async (t) => {
  const tcp = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;
  const unix = { kind: 'unix', path: '/run/nbd.sock' } as const;
  const files = { kind: 'x509', certFile: 'c', keyFile: 'k' } as const;
  const withCa = { ...files, caFile: 'ca' } as const;
  t.ok(isOpenToMachine([unix, tcp], undefined));
  t.notOk(isOpenToMachine([unix], undefined), 'its permissions may keep others out');
  t.notOk(isOpenToMachine([{ kind: 'fd', fd: 3 }], undefined));
  t.ok(isOpenToMachine([tcp], { mode: 'require', files }));
  t.notOk(isOpenToMachine([tcp], { mode: 'require', files: withCa }));
  t.ok(isOpenToMachine([tcp], { mode: 'on', files: withCa }), 'clients without TLS are let in');
});
