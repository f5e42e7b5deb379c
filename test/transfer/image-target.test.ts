import { readFileSync, writeFileSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { BLOCK_BYTES } from '../../src/ebs/constants.js';
import { ImageTarget } from '../../src/transfer/image-target.js';
import { workFolder } from '../fixtures/work-folder.js';

type Write = (bytes: Buffer, at: number, lengthBytes: number, position: number) => Promise<unknown>;

/** Has files take a part of each write, as they do when the disk is about to be full. */
async function writeInParts(t: Test, path: string): Promise<void> {
  const handle = await open(path, 'r');
  const methods = Object.getPrototypeOf(handle) as { write: Write };
  await handle.close();
  const { write } = methods;
  methods.write = function (this: FileHandle, bytes, at, lengthBytes, position) {
    return write.call(this, bytes, at, Math.ceil(lengthBytes / 3), position);
  };
  t.teardown(() => (methods.write = write));
}

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
