import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { openMounted } from '../../src/mount/mounted-filesystem.js';
import { workFolder } from '../fixtures/work-folder.js';

t.test('names out of a snapshot steer no terminal by way of an error', async (t) => {
  const folder = workFolder(t);
  const name = '\x1b[31mred\n';
  writeFileSync(join(folder, name), 'x');
  mkdirSync(join(folder, 'gone'));
  const filesystem = await openMounted(folder, undefined);
  const quoted = String.raw`"/\u001b[31mred\n"`;
  const listing = filesystem.readDirectory(`/${name}`);
  await t.rejects(listing.next(), { message: `Cannot list ${quoted}: it is no directory.` });
  const stat = await filesystem.stat(`/${name}`);
  rmSync(join(folder, name));
  await t.rejects(filesystem.stat(stat), { message: `Cannot read ${quoted}: no such file.`, code: 'ENOENT' });
});
