import { linkSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { ReadChunk } from '../../../src/device/block-device.js';
import { GuestfishFiles } from '../../../src/mount/libguestfs/guestfish-files.js';
import { GuestfishSession } from '../../../src/mount/libguestfs/guestfish-session.js';
import { parseAttributes, parseStat, quoted } from '../../../src/mount/libguestfs/guestfish-text.js';
import { openMountedFiles, type MountedFilesystem } from '../../../src/mount/mounted-filesystem.js';
import { seededBytes } from '../../fixtures/seeded.js';
import { workFolder } from '../../fixtures/work-folder.js';

const FAKE = join(import.meta.dirname, '../../fixtures/fake-guestfish.mjs');

function startFake(t: Test, folder: string): GuestfishSession {
  const session = new GuestfishSession([process.execPath, FAKE, folder], {});
  t.teardown(() => session.close());
  return session;
}

async function wholeOf(filesystem: MountedFilesystem, path: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of filesystem.readFile(path)) chunks.push(bytesOf(chunk));
  return Buffer.concat(chunks);
}

function bytesOf(chunk: ReadChunk): Uint8Array {
  return chunk instanceof Uint8Array ? chunk : Buffer.alloc(chunk.zeroBytes);
}

t.test('a path of any bytes is one argument', (t) => {
  const odd = Buffer.from([0x2f, 0x0a, 0x22, 0x5c, 0x20, 0x7f, 0x80, 0xff, 0x27]);
  t.equal(quoted(odd), '"/\\x0a\\x22\\x5c \\x7f\x80\xff\'"');
  t.throws(() => quoted(Buffer.alloc(4000, '\n')), { code: 'ENOTSUP' }, 'longer than guestfish takes');
  t.end();
});

t.test('what guestfish writes is read, or not at all', (t) => {
  const text = 'st_dev: 1\nst_ino: -1\nst_mode: 33188\nst_size: 5\nst_mtime_sec: -1\nst_mtime_nsec: 5\n';
  t.match(parseStat(text), { ino: 2n ** 64n - 1n, mode: 33_188n, size: 5n, mtimeNs: -999_999_995n, uid: 0n });
  t.equal(parseStat('st_dev: 1\n'), undefined);
  t.strictSame(parseAttributes('[0] = {\n  attrname: user.a\n  attrval: b c\n}\n'), [
    { name: Buffer.from('user.a'), value: Buffer.from('b c') },
  ]);
  t.end();
});

t.test('files come through guestfish as they are, whatever their names', async (t) => {
  const folder = workFolder(t);
  const odd = Buffer.concat([Buffer.from(folder), Buffer.from('/new\nline "q" \\x41 \xff', 'latin1')]);
  writeFileSync(odd, 'odd');
  mkdirSync(join(folder, 'sub'));
  const content = seededBytes('guestfish', 5 * 1024 * 1024 + 7);
  writeFileSync(join(folder, 'sub', 'large'), content);
  linkSync(join(folder, 'sub', 'large'), join(folder, 'sub', 'hard'));
  writeFileSync(join(folder, 'sparse'), 'a');
  truncateSync(join(folder, 'sparse'), 1024 * 1024);
  symlinkSync('/sub/large', join(folder, 'link'));
  symlinkSync('two\nlines', join(folder, 'lines'));
  for (let index = 0; index < 100; index += 1) writeFileSync(join(folder, 'sub', `${index}`), `${index}`);
  const session = startFake(t, folder);
  const filesystem = await openMountedFiles(new GuestfishFiles(session), Buffer.alloc(0), undefined);

  const names: string[] = [];
  for await (const entry of filesystem.readDirectory('/')) {
    names.push(entry.nameBytes.toString('latin1'));
    t.equal((await filesystem.stat(entry)).kind, entry.kind);
  }
  t.strictSame(names.sort(), ['lines', 'link', 'new\nline "q" \\x41 \xff', 'sparse', 'sub']);
  t.equal((await wholeOf(filesystem, '/link')).compare(content), 0, 'links are followed within it');
  const [large, hard] = [await filesystem.stat('/sub/large'), await filesystem.stat('/sub/hard')];
  t.equal(large.inodeNumber, hard.inodeNumber);
  t.equal(large.linkCount, 2);
  t.equal((await filesystem.readLink('/lines')).toString(), 'two\nlines');
  const chunks: ReadChunk[] = [];
  for await (const chunk of filesystem.readFile('/sparse')) chunks.push(chunk);
  t.match(chunks.at(-1), { zeroBytes: 1024 * 1024 - 4096 }, 'holes stay holes');
  t.strictSame(await filesystem.readAttributes('/sparse'), [
    { name: Buffer.from('user.a'), value: Buffer.from('plain') },
    { name: Buffer.from('user.b'), value: Buffer.from('\\x00\n\0') },
  ]);
  let count = 0;
  for await (const entry of filesystem.readDirectory('/sub')) count += entry.kind === 'file' ? 1 : 0;
  t.equal(count, 102);
});

t.test('failures are told of the file that they belong to, and the end of guestfish of all', async (t) => {
  const folder = workFolder(t);
  writeFileSync(join(folder, 'there'), 'x');
  const session = startFake(t, folder);
  const files = new GuestfishFiles(session);
  const filesystem = await openMountedFiles(files, Buffer.alloc(0), undefined);
  const asked = await Promise.allSettled(
    ['/there', '/gone', '/there', '/a: b\nlibguestfs: error: x'].map((path) => filesystem.stat(path)),
  );
  t.strictSame(
    asked.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled', 'rejected'],
  );
  await t.rejects(filesystem.stat('/gone'), { code: 'ENOENT', message: /"\/gone": there is no such file/ });
  await t.rejects(session.run('die'), {
    message: 'Cannot read by libguestfs: guestfish has ended: appliance closed the connection unexpectedly.',
  });
  await t.rejects(files.readLink(Buffer.from('/there')), { message: /guestfish has ended/ });
});

t.test('a program that is not there, and one that is ended', async (t) => {
  const missing = new GuestfishSession([join(workFolder(t), 'none')], {});
  await t.rejects(missing.run('run'), { message: /^Cannot run .*none: .*ENOENT/ });
  await missing.close();
  const session = startFake(t, workFolder(t));
  await session.close();
  await t.rejects(session.run('run'), { message: 'Cannot read by libguestfs: stopped.' });
});
