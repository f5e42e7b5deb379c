// The page in a real browser: what it shows, that it follows the server, and that it asks nobody else.
import { chromium } from 'playwright-core';
import { existsSync, mkdirSync } from 'node:fs';
import { request } from 'node:http';
import { delimiter, join } from 'node:path';
import t from 'tap';
import { serve, snapshotIdFrom } from '../fixtures/serving.js';
import { needsPrograms, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { runProgram } from '../fixtures/run-program.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

/** With a path in it, the test also makes the picture of the README. */
const picture = process.env.SNAPNBD_PICTURE;

/** The browser of the system. */
function chromiumPath(): string {
  const folders = (process.env.PATH ?? '').split(delimiter);
  return folders.map((folder) => join(folder, 'chromium')).find((path) => existsSync(path)) ?? 'chromium';
}

function get(url: string, headers: Record<string, string> = {}): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    request(url, { headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    })
      .on('error', reject)
      .end();
  });
}

t.test('the page in a browser', needsPrograms('chromium', 'qemu-io'), async (t) => {
  const emulator = `${workFolder(t)}/emulator`;
  mkdirSync(emulator);
  const names = picture === undefined ? ['disk'] : Array.from({ length: 5 }, (_, index) => `disk-${index}`);
  const exports: string[] = [];
  for (const [index, name] of names.entries()) {
    const size = picture === undefined ? '1GiB' : `${2 ** (index % 7)}GiB`;
    const args = ['--size', size, '--fill', '0.4', '--seed', String(index + 1)];
    exports.push(`${name}=${await snapshotIdFrom(t, ['emulator', 'synth', '--dir', emulator, ...args])}`);
  }
  const state = workFolder(t);
  const served = await serve(t, {
    exports: [...exports, `<b>fork</b>=fork:${exports[0]?.split('=')[1] ?? ''}`],
    emulator,
    options: ['--http', '127.0.0.1:0', '--state-dir', state],
  });
  const url = /url=(\S+)/.exec(served.process.stderr())?.[1] ?? '';
  t.equal((await get(`${url}readyz`)).text, 'ready\n');
  t.equal((await get(url, { host: 'rebound.example' })).status, 403, 'a name that was made to lead here');

  const browser = await chromium.launch({ executablePath: chromiumPath(), args: ['--no-sandbox'] });
  t.teardown(() => browser.close());
  const page = await browser.newPage({ colorScheme: 'light', viewport: { width: 1180, height: 900 } });
  const complaints: string[] = [];
  const hosts = new Set<string>();
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (asked) => hosts.add(new URL(asked.url()).origin));
  await page.goto(url);

  const map = page.locator(`[data-export="${names[0]}"] canvas`).first();
  await page.locator('[data-export]').nth(1).waitFor();
  await page.locator('canvas[aria-label*="%"]').first().waitFor();
  t.notMatch(await map.getAttribute('aria-label'), /in memory/, 'nothing was read');
  t.equal(await page.locator('h2 b').count(), 0, 'a name is text');

  await runProgram('qemu-io', ['-r', '-f', 'raw', '-c', 'read 0 64M', served.tcp(names[0]!)]);
  await page.locator('canvas[aria-label*="in memory"]').first().waitFor();
  t.match(await map.getAttribute('aria-label'), /% in memory/, 'the map follows');

  const focused = new Set<string>();
  for (let press = 0; press < 8 + names.length * 2; press += 1) {
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

  if (picture === undefined) return;
  for (let round = 0; round < 4; round += 1) {
    await Promise.all(
      names.map((name, index) =>
        runProgram('qemu-io', [
          '-r',
          '-f',
          'raw',
          '-c',
          `read ${64 * index + 32 * round}M 32M`,
          served.tcp(name),
        ]),
      ),
    );
  }
  await page.locator('canvas[aria-label*="in memory"]').nth(3).waitFor();
  await page.screenshot({ path: picture });
});
