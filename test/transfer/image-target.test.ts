import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { BLOCK_BYTES } from '../../src/ebs/constants.js';
import { ImageTarget } from '../../src/transfer/image-target.js';
import { writeInParts } from '../fixtures/partial-writes.js';
import { workFolder } from '../fixtures/work-folder.js';

t.test('what is taken in parts is written to its end, zeros as well', async (t) => {
  const path = join(workFolder(t), 'image');
  writeFileSync(path, Buffer.alloc(3 * BLOCK_BYTES, 7));
  await writeInParts(t, path);
  const findData = async function* () {
    yield { start: 0, end: 3 * BLOCK_BYTES };
  };
  const target = await ImageTarget.openFile(path, 3 * BLOCK_BYTES, findData);
  await target.write(0, Buffer.alloc(BLOCK_BYTES, 1));
  await target.zero(1, 3, new AbortController().signal);
  await target.sync();
  await target.close();
  const expected = Buffer.concat([Buffer.alloc(BLOCK_BYTES, 1), Buffer.alloc(2 * BLOCK_BYTES)]);
  t.ok(readFileSync(path).equals(expected));
});
