import { existsSync, linkSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { startEmulator } from '../../../src/emulator/server.js';
import { openLayout } from '../../../src/emulator/store/layout.js';
import { lockForServer } from '../../../src/emulator/store/lock.js';
import { systemClock } from '../../../src/util/clock.js';
import { workFolder } from '../../fixtures/work-folder.js';

function pretendPlatform(t: Test, platform: string): void {
  const real = Object.getOwnPropertyDescriptor(process, 'platform')!;
  Object.defineProperty(process, 'platform', { ...real, value: platform });
  t.teardown(() => Object.defineProperty(process, 'platform', real));
}

t.test('one server a folder, whatever it is called; the next one when that has ended', async (t) => {
  const dir = workFolder(t);
  const first = await startEmulator({ dir });
  const message = new RegExp(`^Cannot serve .*\\(process ${process.pid}, ${first.url}\\)\\. Use that one`);
  await t.rejects(startEmulator({ dir }), { message });
  await t.rejects(startEmulator({ dir: `${dir}/../${dir.split('/').at(-1)!}/.` }), { message });
  const other = await startEmulator({ dir: workFolder(t) });
  await other.close();
  await first.close();
  await (await startEmulator({ dir })).close();
});

t.test('where there are no abstract sockets, a socket file', async (t) => {
  pretendPlatform(t, 'darwin');
  const layout = await openLayout(join(workFolder(t), 'd'));
  const first = await lockForServer(layout, systemClock);
  t.ok(existsSync(join(layout.dir, 'server.sock')));
  first.announce('http://127.0.0.1:1');
  await t.rejects(lockForServer(layout, systemClock), {
    message: /another emulator .*http:\/\/127\.0\.0\.1:1/,
  });
  await first.release();
  // What a process that was killed leaves behind.
  const stale = createServer().listen(join(layout.dir, 'server.sock'));
  await new Promise((resolve) => stale.once('listening', resolve));
  const kept = join(layout.dir, 'kept.sock');
  linkSync(join(layout.dir, 'server.sock'), kept);
  await new Promise((resolve) => stale.close(resolve));
  renameSync(kept, join(layout.dir, 'server.sock'));
  const second = await lockForServer(layout, systemClock);
  await second.release();
});

t.test('a folder of something else, or of another version, is left alone', async (t) => {
  const dir = workFolder(t);
  writeFileSync(join(dir, 'photo.jpg'), 'x');
  await t.rejects(openLayout(dir), { message: /it holds other files \(photo\.jpg\)/ });
  const newer = workFolder(t);
  writeFileSync(join(newer, 'format.json'), '{"format":"snapnbd-emulator","version":2}\n');
  await t.rejects(openLayout(newer), { message: /its format is .*"version":2/ });
  const file = join(workFolder(t), 'file');
  writeFileSync(file, 'x');
  await t.rejects(openLayout(file), { message: /^Cannot use the emulator folder/ });
  const several = join(workFolder(t), 'a', 'b');
  await Promise.all([1, 2, 3, 4].map(() => openLayout(several)));
  mkdirSync(join(several, 'x'));
  await openLayout(several);
});
