import { BrowseError } from '../../http/file-browser.js';

/** As ext: longer names are none. */
const NAME_BYTES_MAX = 255;
const SLASH = 0x2f;
const HEX_KEY = /^\/(?:[0-9a-f]{2})+$/;

/** What stands for a name in a request: the name, or a slash, which no name has, and its bytes where they are no UTF-8. */
export function keyOf(name: Buffer): string {
  const text = name.toString('utf8');
  return Buffer.from(text).equals(name) ? text : `/${name.toString('hex')}`;
}

/**
 * The name that a key stands for. A key is one name: nothing in it leads up or further down.
 *
 * @throws {BrowseError} for what no file can be called.
 */
export function nameOfKey(key: string): Buffer {
  const name = HEX_KEY.test(key) ? Buffer.from(key.slice(1), 'hex') : Buffer.from(key);
  const isName =
    name.length > 0 &&
    name.length <= NAME_BYTES_MAX &&
    !name.includes(SLASH) &&
    !name.includes(0) &&
    !name.equals(Buffer.from('.')) &&
    !name.equals(Buffer.from('..'));
  if (isName) return name;
  throw new BrowseError(
    400,
    `Cannot use ${JSON.stringify(key.slice(0, NAME_BYTES_MAX))} as the name of a file: give the name of each folder, and of the file, as a p= of its own.`,
  );
}

/** The path that keys stand for, from the root of a filesystem. */
export function pathOfKeys(keys: readonly string[]): Buffer {
  return Buffer.concat([
    Buffer.from('/'),
    ...keys.flatMap((key, index) => [Buffer.from(index === 0 ? '' : '/'), nameOfKey(key)]),
  ]);
}
