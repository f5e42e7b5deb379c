import { randomBytes } from 'node:crypto';
import { link, readFile, rm, writeFile } from 'node:fs/promises';
import { EnvironmentError, systemCodeOf } from '../../util/errors.js';
import { TOKEN_KEY_BYTES } from '../tokens.js';
import type { StoreLayout } from './layout.js';

/** The folder's secret, made when there is none yet, so that tokens outlive the process that gave them. */
export async function loadTokenKey(layout: StoreLayout): Promise<Buffer> {
  const known = await readKey(layout);
  if (known !== undefined) return known;
  const temporary = `${layout.keyFile}.${process.pid}.new`;
  await writeFile(temporary, randomBytes(TOKEN_KEY_BYTES), { mode: 0o600 });
  try {
    await link(temporary, layout.keyFile);
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw error;
  } finally {
    await rm(temporary, { force: true });
  }
  const made = await readKey(layout);
  if (made === undefined) throw new EnvironmentError(`Cannot read ${layout.keyFile}: it vanished.`);
  return made;
}

async function readKey(layout: StoreLayout): Promise<Buffer | undefined> {
  let key: Buffer;
  try {
    key = await readFile(layout.keyFile);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  if (key.length !== TOKEN_KEY_BYTES)
    throw new EnvironmentError(
      `Cannot use ${layout.keyFile}: it has ${key.length} bytes, not ${TOKEN_KEY_BYTES}.`,
    );
  return key;
}
