import { resolve } from 'node:path';
import { UsageError } from '../../util/errors.js';

/** Where to listen. */
export type ListenAddress =
  | {
      readonly kind: 'tcp';
      readonly host: string;
      /** 0: any free one. */
      readonly port: number;
    }
  | { readonly kind: 'unix'; readonly path: string }
  /** A socket that somebody else listens on already, and has passed on by this descriptor. */
  | { readonly kind: 'fd'; readonly fd: number };

/** Where a server does listen: with the port that was found, and an absolute path. */
export type BoundAddress = Exclude<ListenAddress, { kind: 'fd' }>;

/** The port that is registered for NBD. [nbd: Newstyle negotiation] */
export const DEFAULT_PORT = 10_809;

/** Linux keeps 108 bytes for the path of a socket, the last of them NUL. */
const SOCKET_PATH_BYTES_MAX = 107;

/**
 * Reads an address: `127.0.0.1:10809`, `[::1]:10809`, `localhost:0` (any free port) or `unix:/run/nbd.sock`.
 *
 * @throws {UsageError} when it is none of these.
 */
export function parseListenAddress(text: string): BoundAddress {
  if (text.startsWith('unix:')) return unixAddress(text);
  const match = /^(?:\[([0-9a-fA-F:.]+(?:%[^\]]+)?)\]|([^:[\]/\s]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) {
    throw new UsageError(
      `Cannot listen on "${text}": write 127.0.0.1:${DEFAULT_PORT}, [::1]:${DEFAULT_PORT} or unix:/path/to/socket.`,
    );
  }
  return { kind: 'tcp', host, port };
}

function unixAddress(text: string): BoundAddress {
  const path = text.slice('unix:'.length);
  if (path === '' || path.includes('\0')) {
    throw new UsageError(`Cannot listen on "${text}": a path has to follow, as in unix:/run/nbd.sock.`);
  }
  const absolute = resolve(path);
  const pathBytes = Buffer.byteLength(absolute);
  if (pathBytes > SOCKET_PATH_BYTES_MAX) {
    throw new UsageError(
      `Cannot listen on "${text}": the path of a socket may have ${SOCKET_PATH_BYTES_MAX} bytes, not ${pathBytes}.`,
    );
  }
  return { kind: 'unix', path: absolute };
}

/** The address as {@link parseListenAddress} reads it. */
export function formatListenAddress(address: ListenAddress): string {
  if (address.kind === 'fd') return `descriptor ${address.fd}`;
  if (address.kind === 'unix') return `unix:${address.path}`;
  return `${hostInUri(address.host)}:${address.port}`;
}

/**
 * The URI by which clients reach an export: `nbd://127.0.0.1:10809/NAME` or `nbd+unix:///NAME?socket=PATH`, with `nbds`
 * for `nbd` where TLS is needed. (The reference project's doc/uri.md.)
 */
export function formatNbdUri(
  address: BoundAddress,
  exportName: string,
  options: { readonly isTls?: boolean } = {},
): string {
  const scheme = options.isTls === true ? 'nbds' : 'nbd';
  const name = encodeURIComponent(exportName);
  if (address.kind === 'unix') {
    const path = encodeURIComponent(address.path).replaceAll('%2F', '/');
    return `${scheme}+unix:///${name}?socket=${path}`;
  }
  return `${scheme}://${hostInUri(address.host)}:${address.port}/${name}`;
}

function hostInUri(host: string): string {
  return host.includes(':') ? `[${host.replace('%', '%25')}]` : host;
}
