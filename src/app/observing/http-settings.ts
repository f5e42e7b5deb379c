import { readFileSync } from 'node:fs';
import { isLocalOnly } from '../../nbd/listen/exposure.js';
import { parseListenAddress } from '../../nbd/listen/listen-address.js';
import { EnvironmentError, UsageError } from '../../util/errors.js';
import { systemReason } from '../../util/system-reason.js';

/** Where the page is shown, and to whom. */
export interface HttpSettings {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** What clients have to know. Default: nothing, which is refused where others in the network can connect. */
  readonly token?: string;
}

/** The options as they were given. */
export interface HttpChoice {
  /** `HOST:PORT` or `[IPV6]:PORT`. */
  readonly address: string;
  readonly token?: string | undefined;
  /** A file whose first line is the token. */
  readonly tokenFile?: string | undefined;
}

/** Shorter ones can be guessed at the rate of a network. */
const TOKEN_LENGTH_MIN = 16;

/**
 * Checks where the page is to be shown.
 *
 * @throws {UsageError} for an address that others can reach without a token; {EnvironmentError} for a file that cannot be
 *   read.
 */
export function httpSettingsOf({ address, token, tokenFile }: HttpChoice): HttpSettings {
  const parsed = parseListenAddress(address);
  if (parsed.kind !== 'tcp') throw new UsageError(`Cannot use ${address} as --http: write HOST:PORT.`);
  const secret = tokenFile === undefined ? token : tokenIn(tokenFile);
  if (secret !== undefined && !new RegExp(`^[!-:<-~]{${TOKEN_LENGTH_MIN},}$`).test(secret)) {
    throw new UsageError(
      `Cannot use the token of --http: it has to be at least ${TOKEN_LENGTH_MIN} letters, digits or signs, without spaces or ";"; "openssl rand -hex 16" makes one.`,
    );
  }
  const { host, port } = parsed;
  if (secret === undefined && !isLocalOnly(parsed)) {
    throw new UsageError(
      `Cannot show the page at ${address} to the network: it shows files of the disks. Add --http-token-file FILE, or use 127.0.0.1:${port}.`,
    );
  }
  return { host, port, ...(secret === undefined ? {} : { token: secret }) };
}

function tokenIn(path: string): string {
  try {
    return readFileSync(path, 'utf8').split(/\r?\n/, 1)[0] ?? '';
  } catch (error) {
    throw new EnvironmentError(`Cannot read the token in "${path}": ${systemReason(error)}.`, {
      cause: error,
    });
  }
}
