import { BlockList, isIPv4 } from 'node:net';
import { UsageError } from '../../util/errors.js';
import { formatListenAddress, type BoundAddress } from './listen-address.js';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');
loopback.addSubnet('::ffff:127.0.0.0', 104, 'ipv6');

/** True when nobody outside of this machine can connect there. */
export function isLocalOnly(address: BoundAddress): boolean {
  if (address.kind === 'unix') return true;
  const { host } = address;
  if (host === 'localhost') return true;
  if (isIPv4(host)) return loopback.check(host, 'ipv4');
  return host.includes(':') && loopback.check(host.replace(/%.*$/, ''), 'ipv6');
}

/**
 * Refuses to serve disks in the clear to whoever is in the network, unless that is what was asked for.
 *
 * @param options.isTlsRequired every client has to use TLS; that clients may is not enough.
 * @param options.isInsecureAllowed the user has said so.
 * @throws {UsageError} with the options that allow it.
 */
export function checkExposure(
  address: BoundAddress,
  options: { readonly isTlsRequired: boolean; readonly isInsecureAllowed: boolean },
): void {
  if (options.isTlsRequired || options.isInsecureAllowed || isLocalOnly(address)) return;
  throw new UsageError(
    `Cannot listen on ${formatListenAddress(address)} without TLS: anybody in the network could read the disks. ` +
      'Use --tls require, or listen on 127.0.0.1 or a unix socket, or allow it with --insecure.',
  );
}
