import type { FileAttribute } from '../../files/filesystem.js';
import { systemCodeOf } from '../../util/errors.js';
import type { MountedFiles } from '../mounted-files.js';
import type { MountedStat } from '../mounted-stat.js';
import type { GuestfishSession } from './guestfish-session.js';
import { GuestfishError, parseAttributes, parseStat, quoted } from './guestfish-text.js';

/** What is read at once of a file: eight files are copied at a time, and each of these is in memory twice. */
const CHUNK_BYTES = 2 * 1024 * 1024;
/** Files that are looked at ahead of whoever lists a directory: commands wait for nobody. */
const LOOKED_AHEAD = 64;
/** Whoever lists a directory asks for each of its files again, and again when it copies them. */
const STATS_MAX = 4096;

/** Files of what guestfish has mounted. Nothing changes there: what was told of a file once holds. */
export class GuestfishFiles implements MountedFiles {
  readonly #session: GuestfishSession;
  /** By place, a character for each byte; the oldest first. */
  readonly #stats = new Map<string, Promise<MountedStat>>();

  /** @param session that has mounted something on its root. */
  constructor(session: GuestfishSession) {
    this.#session = session;
  }

  stat(place: Buffer): Promise<MountedStat> {
    const key = place.toString('latin1');
    const known = this.#stats.get(key);
    if (known !== undefined) return known;
    const asked = this.#lookAt(place);
    this.#stats.set(key, asked);
    for (const oldest of this.#stats.keys()) {
      if (this.#stats.size <= STATS_MAX) break;
      this.#stats.delete(oldest);
    }
    return asked;
  }

  async *names(place: Buffer): AsyncGenerator<Buffer> {
    const names = namesOf(await this.#run('ls0', place, ' -'));
    for (let first = 0; first < names.length; first += LOOKED_AHEAD) {
      const group = names.slice(first, first + LOOKED_AHEAD);
      for (const name of group) {
        const ahead = this.stat(Buffer.concat([place, Buffer.from('/'), name]));
        // Whoever asks for it is told.
        ahead.catch(() => undefined);
      }
      yield* group;
    }
  }

  async *read(place: Buffer, offset: number, lengthBytes: number): AsyncGenerator<Buffer> {
    const end = offset + lengthBytes;
    for (let at = offset; at < end;) {
      const bytes = await this.#run('download-offset', place, ` - ${at} ${Math.min(CHUNK_BYTES, end - at)}`);
      if (bytes.length === 0) return;
      yield bytes;
      at += bytes.length;
    }
  }

  async readLink(place: Buffer): Promise<Buffer> {
    const line = await this.#run('readlink', place);
    return line.subarray(0, -1);
  }

  async attributes(place: Buffer): Promise<readonly FileAttribute[]> {
    const listed = parseAttributes((await this.#listAttributes(place)).toString('latin1'));
    return Promise.all(
      listed.map(async ({ name, value }) => ({
        name,
        value: value ?? (await this.#run('lgetxattr', place, ` ${quoted(name)}`)),
      })),
    );
  }

  /** Nothing for filesystems that have none. */
  async #listAttributes(place: Buffer): Promise<Buffer> {
    try {
      return await this.#run('lgetxattrs', place);
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOTSUP') throw error;
      return Buffer.alloc(0);
    }
  }

  async #lookAt(place: Buffer): Promise<MountedStat> {
    const text = (await this.#run('lstatns', place)).toString('latin1');
    const stat = parseStat(text);
    if (stat === undefined) throw new GuestfishError('libguestfs answers with something else');
    return stat;
  }

  #run(command: string, place: Buffer, more = ''): Promise<Buffer> {
    const path = place.length === 0 ? Buffer.from('/') : place;
    return this.#session.run(`${command} ${quoted(path)}${more}`);
  }
}

/** Each ends with a zero byte. */
function namesOf(listed: Buffer): readonly Buffer[] {
  const names: Buffer[] = [];
  for (let start = 0; start < listed.length;) {
    const zero = listed.indexOf(0, start);
    const end = zero < 0 ? listed.length : zero;
    if (end > start) names.push(listed.subarray(start, end));
    start = end + 1;
  }
  return names;
}
