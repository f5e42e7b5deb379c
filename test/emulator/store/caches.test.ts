import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { BufferPool } from '../../../src/emulator/store/buffer-pool.js';
import { readSome } from '../../../src/emulator/store/file-io.js';
import { OpenFiles } from '../../../src/emulator/store/open-files.js';
import { WeightedCache } from '../../../src/emulator/store/weighted-cache.js';
import { workFolder } from '../../fixtures/work-folder.js';

t.test('WeightedCache: the least recently used go first, loads at once are one', async (t) => {
  const cache = new WeightedCache<string>(10, (value) => value.length);
  let loads = 0;
  const load = (key: string, value: string): Promise<string> =>
    cache.load(key, () => {
      loads += 1;
      return Promise.resolve(value);
    });
  await Promise.all([load('a', '1234'), load('a', '1234'), load('b', '1234')]);
  t.equal(loads, 2);
  t.equal(cache.get('a'), '1234');
  await load('c', '1234');
  t.strictSame([cache.get('a'), cache.get('b'), cache.get('c')], ['1234', undefined, '1234']);
  t.equal(cache.bytes, 8);
  t.equal(await load('big', '12345678901'), '12345678901', 'handed out, not kept');
  t.equal(cache.get('big'), undefined);
  await t.rejects(
    cache.load('d', () => Promise.reject(new Error('no'))),
    /no/,
  );
  t.equal(await load('d', '1'), '1', 'a failure is not remembered');
});

t.test('OpenFiles: a file is not closed under its reader, and few stay open', async (t) => {
  const folder = workFolder(t);
  const paths = Array.from({ length: 8 }, (_, at) => join(folder, `${at}`));
  for (const path of paths) writeFileSync(path, path);
  const files = new OpenFiles(2);
  const read = (path: string): Promise<string> =>
    files.use(path, async (fd) => {
      const bytes = Buffer.alloc(100);
      await new Promise((resolve) => setImmediate(resolve));
      return bytes.toString('utf8', 0, await readSome(fd, bytes, 0));
    });
  for (let round = 0; round < 20; round++)
    t.strictSame(await Promise.all([...paths, ...paths].map(read)), [...paths, ...paths]);
  await t.rejects(read(join(folder, 'missing')), { code: 'ENOENT' });
  writeFileSync(join(folder, 'missing'), 'x');
  t.equal(await read(join(folder, 'missing')), 'x', 'a failure is not remembered');
  await files.close();
  t.equal(await read(paths[0]!), paths[0], 'and opened again when need be');
  await files.close();
});

t.test('BufferPool: at most so many are lent, the next come in order', async (t) => {
  const pool = new BufferPool(2);
  const [first, second] = [await pool.take(), await pool.take()];
  const order: number[] = [];
  const third = pool.take().then((buffer) => {
    order.push(3);
    return buffer;
  });
  const fourth = pool.take().then((buffer) => {
    order.push(4);
    return buffer;
  });
  first.release();
  first.release();
  const given = await third;
  t.equal(given.bytes, first.bytes, 'the same memory');
  t.strictSame(order, [3], 'given back once, whoever says so twice');
  second.release();
  (await fourth).release();
  given.release();
  t.equal(pool.lentCount, 0);
  t.strictSame(order, [3, 4]);
});

t.test('names that are folders are not files', async (t) => {
  const folder = workFolder(t);
  mkdirSync(join(folder, 'x'));
  const files = new OpenFiles(1);
  await t.rejects(
    files.use(join(folder, 'x'), (fd) => readSome(fd, Buffer.alloc(1), 0)),
    { code: 'EISDIR' },
  );
  await files.close();
});
