// The page in a real browser: what it shows, that it follows the server, and that it asks nobody else.
import { chromium, type Browser, type Locator, type Page } from 'playwright-core';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { delimiter, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { writeFileTree } from '../fixtures/file-tree.js';
import { makeExt4Image, makeGptImage } from '../fixtures/images.js';
import { importImage, serve, snapshotIdFrom } from '../fixtures/serving.js';
import { needsPrograms, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { runProgram } from '../fixtures/run-program.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

/** The browser of the system. */
function chromiumPath(): string {
  const folders = (process.env.PATH ?? '').split(delimiter);
  return folders.map((folder) => join(folder, 'chromium')).find((path) => existsSync(path)) ?? 'chromium';
}

/** It ends with the test. */
async function launched(t: Test): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: chromiumPath(),
    args: ['--no-sandbox'],
    timeout: PROGRAMS_TIMEOUT_MS,
  });
  t.teardown(() => browser.close());
  return browser;
}

interface Got {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly bytes: Buffer;
  readonly text: string;
}

function get(url: string, headers: Record<string, string> = {}): Promise<Got> {
  return new Promise((resolve, reject) => {
    request(url, { headers, agent: false }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part)).on('error', reject);
      response.on('end', () => {
        const bytes = Buffer.concat(parts);
        const { statusCode: status = 0, headers } = response;
        resolve({ status, headers, bytes, text: bytes.toString() });
      });
    })
      .on('error', reject)
      .end();
  });
}

const HOSTILE = '<img src=x onerror=alert(1)>"';
const MANY = 1100;

/** A disk with an ext4 partition, and what its files are called by those who mean no good. */
async function diskWithFiles(t: Test, emulator: string): Promise<{ id: string; tree: string }> {
  const folder = workFolder(t);
  const tree = join(folder, 'tree');
  writeFileTree(tree, 'page');
  const write = (name: Buffer, content: string): void =>
    writeFileSync(Buffer.concat([Buffer.from(`${tree}/`), name]), content);
  write(Buffer.from(HOSTILE), 'hostile');
  write(Buffer.from([0x6e, 0xff, 0x0a]), 'no UTF-8');
  write(Buffer.from('turned\u202Egpj.exe'), 'turned');
  mkdirSync(join(tree, 'crowd'));
  for (let index = 0; index < MANY; index += 1) write(Buffer.from(`crowd/${index}`), '');
  const image = await makeGptImage(join(folder, 'gpt'), await makeExt4Image(join(folder, 'ext4'), tree));
  return { id: await importImage(t, emulator, image.path), tree };
}

async function filesByHand(t: Test, url: string, tree: string): Promise<void> {
  const ask = (route: string, path: readonly string[], more: Record<string, string> = {}): Promise<Got> => {
    const query = new URLSearchParams({ export: 'files', ...more });
    for (const name of path) query.append('p', name);
    return get(`${url}${route}?${query.toString()}`);
  };
  const list = async (path: readonly string[], from = '0'): Promise<Listing> =>
    JSON.parse((await ask('api/files', path, { from })).text) as Listing;

  t.match((await list([])).entries, [
    { name: 'partition 1', kind: 'other' },
    { name: 'partition 2', key: '2', kind: 'folder', note: /^ext4/ },
  ]);
  const { entries, next } = await list(['2']);
  t.equal(next, null);
  const find = (start: string): Listing['entries'][number] | undefined =>
    entries.find(({ name }) => name.startsWith(start));
  t.match(find('large.bin'), { kind: 'file', key: 'large.bin', modifiedMs: Number });
  t.match(find('link-to-nowhere'), { kind: 'link', target: '/no/such/file' });
  t.match(find('n\\'), { name: 'n\\xff\\x0a', key: '/6eff0a', kind: 'file' });
  t.match(find('turned'), { name: 'turned\\u{202e}gpj.exe' });
  t.equal((await ask('download', ['2', '/6eff0a'])).text, 'no UTF-8');

  for (const name of ['large.bin', 'sparse', 'empty', 'zeros', 'sizes/524289', 'naïve-名前.txt']) {
    const got = await ask('download', ['2', ...name.split('/')]);
    t.ok(got.status === 200 && got.bytes.equals(readFileSync(join(tree, name))), name);
  }
  const hostile = await ask('download', ['2', HOSTILE]);
  t.equal(hostile.text, 'hostile');
  t.match(hostile.headers, {
    'content-type': 'application/octet-stream',
    'x-content-type-options': 'nosniff',
    'content-disposition': /^attachment; filename="_img src_x onerror_alert_1___"; filename\*=UTF-8''%3Cimg/,
  });

  const first = await list(['2', 'crowd']);
  t.equal(first.entries.length, 1000);
  const second = await list(['2', 'crowd'], String(first.next));
  t.equal(second.next, null);
  const names = new Set([...first.entries, ...second.entries].map(({ name }) => name));
  t.equal(names.size, MANY, 'every name is on one of the pages');

  const refusals: readonly (readonly [route: string, path: readonly string[], status: number])[] = [
    ['api/files', ['2', '..'], 400],
    ['api/files', ['2', '/2e2e'], 400],
    ['download', ['2', '../../etc/passwd'], 400],
    ['download', ['2', 'etc\0'], 400],
    ['download', ['2', 'etc'], 400],
    ['download', ['2'], 400],
    ['download', ['2', 'no such'], 404],
    ['api/files', ['2', 'large.bin'], 404],
    ['api/files', ['1'], 422],
    ['api/files', ['7'], 404],
  ];
  for (const [route, path, status] of refusals) {
    const got = await ask(route, path);
    t.equal(got.status, status, `${JSON.stringify(path)}: ${got.text}`);
    t.match(JSON.parse(got.text), { error: /^.+$/ });
  }
  t.equal((await ask('api/files', ['2'], { from: 'x' })).status, 400);
  t.equal((await ask('api/files', ['2'], { from: '999999999' })).status, 400);
  t.equal((await get(`${url}api/files?export=none`)).status, 404);
  const fork = await get(`${url}api/files?export=${encodeURIComponent('<b>fork</b>')}`);
  t.match([fork.status, fork.text], [409, /can be written/]);
}

/** As a person would: into the partition, into a folder and back, and a file. */
async function filesInBrowser(t: Test, page: Page, tree: string): Promise<void> {
  const section = page.locator('[data-export="files"]');
  await section.locator('summary').click();
  await section.getByRole('button', { name: 'partition 2/' }).click();
  await section.getByText(HOSTILE).waitFor();
  t.equal(await page.locator('img').count(), 0, 'a name is text');
  await section.getByRole('button', { name: 'crowd/' }).click();
  await section.getByRole('button', { name: 'More' }).click();
  await section.locator(`tbody tr:nth-child(${MANY})`).waitFor();
  await section.getByRole('button', { name: 'partition 2', exact: true }).click();
  const started = page.waitForEvent('download');
  await section.getByRole('link', { name: 'large.bin' }).click();
  const download = await started;
  t.equal(download.suggestedFilename(), 'large.bin');
  t.ok(readFileSync(await download.path()).equals(readFileSync(join(tree, 'large.bin'))));
  t.equal(await page.locator('[data-export="<b>fork</b>"] summary').count(), 0, 'none of what is written');
  await section.locator('summary').click();
}

interface Listing {
  readonly entries: readonly { readonly name: string }[];
  readonly next: number | null;
}

t.test('the page in a browser', needsPrograms('chromium', 'qemu-io', 'mke2fs', 'sfdisk'), async (t) => {
  const emulator = `${workFolder(t)}/emulator`;
  mkdirSync(emulator);
  // What takes long to start is started together.
  const [browser, synth, disk] = await Promise.all([
    launched(t),
    snapshotIdFrom(t, ['emulator', 'synth', '--dir', emulator, '--size', '1GiB', '--fill', '0.4']),
    diskWithFiles(t, emulator),
  ]);
  const served = await serve(t, {
    exports: [`disk=${synth}`, `files=${disk.id}`, `<b>fork</b>=fork:${disk.id}`],
    emulator,
    options: ['--http', '127.0.0.1:0', '--state-dir', workFolder(t)],
  });
  // The line was written before those that serve() waits for, but to another pipe: what has arrived there is read first.
  await setImmediate();
  const url = /url=(\S+)/.exec(served.process.stderr())?.[1] ?? '';
  t.equal((await get(`${url}readyz`)).text, 'ready\n');
  t.equal((await get(url, { host: 'rebound.example' })).status, 403, 'a name that was made to lead here');
  await filesByHand(t, url, disk.tree);

  const page = await browser.newPage({ colorScheme: 'light', viewport: { width: 1180, height: 900 } });
  page.setDefaultTimeout(PROGRAMS_TIMEOUT_MS);
  const complaints: string[] = [];
  const hosts = new Set<string>();
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (asked) => hosts.add(new URL(asked.url()).origin));
  await page.goto(url);

  const mapOf = (name: string, text: string): Locator =>
    page.locator(`[data-export="${name}"] canvas[aria-label^="Map of"][aria-label*="${text}"]`);
  await mapOf('files', '% in memory').waitFor();
  await mapOf('disk', '%').waitFor();
  t.equal(await mapOf('disk', 'in memory').count(), 0, 'nothing was read');
  t.equal(await page.locator('h2 b').count(), 0, 'a name is text');

  await runProgram('qemu-io', ['-r', '-f', 'raw', '-c', 'read 0 64M', served.tcp('disk')]);
  // The canvas of this very export: others have something in memory already.
  await mapOf('disk', '% in memory').waitFor();

  await filesInBrowser(t, page, disk.tree);
  const focused = new Set<string>();
  for (let press = 0; press < 10; press += 1) {
    await page.keyboard.press('Tab');
    focused.add(await page.evaluate<string>(`document.activeElement?.tagName ?? ''`));
  }
  t.ok(focused.has('BUTTON'), 'the keyboard reaches what can be pressed');

  const groundOf = (): Promise<string> => page.evaluate(`getComputedStyle(document.body).backgroundColor`);
  const light = await groundOf();
  await page.emulateMedia({ colorScheme: 'dark' });
  t.not(await groundOf(), light, 'dark where that is wanted');
  await page.emulateMedia({ colorScheme: 'light' });
  t.strictSame(complaints, []);
  t.strictSame([...hosts], [new URL(url).origin], 'no other host is asked');
});
