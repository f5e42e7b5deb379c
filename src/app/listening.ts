import { activatedSockets } from '../nbd/listen/activated-sockets.js';
import { checkExposure } from '../nbd/listen/exposure.js';
import { formatNbdUri, parseListenAddress, type ListenAddress } from '../nbd/listen/listen-address.js';
import type { NbdServer } from '../nbd/server.js';
import { TlsCredentials } from '../nbd/tls/tls-credentials.js';
import type { TlsSetup } from '../nbd/tls/server-tls.js';
import { UsageError } from '../util/errors.js';
import { DEFAULT_LISTEN_ADDRESS, type ListenSettings, type TlsSettings } from './settings.js';

/** What a service manager says about the sockets that it passes on. */
export interface ActivationSource {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly pid: number;
}

/**
 * Reads the keys that TLS needs.
 *
 * @throws {EnvironmentError} when a file cannot be read or does not hold what it should.
 */
export async function loadTls({ mode, files, allowedNames }: TlsSettings): Promise<TlsSetup> {
  return {
    mode,
    credentials: await TlsCredentials.load(files),
    ...(allowedNames === undefined ? {} : { allowedNames }),
  };
}

/**
 * The addresses to listen on: those that were asked for, else those that the service manager listens on already, else
 * the default one.
 *
 * @throws {UsageError} when one of them would show disks to the network in the clear, unless that is allowed; when there
 *   are both kinds.
 * @throws {EnvironmentError} when the service manager contradicts itself.
 */
export function addressesToListenOn(
  { addresses = [], tls, isInsecureAllowed = false }: ListenSettings,
  { environment, pid }: ActivationSource,
): readonly ListenAddress[] {
  const sockets = activatedSockets(environment, pid);
  if (addresses.length === 0) {
    if (sockets !== undefined) return sockets.map(({ fd }) => ({ kind: 'fd', fd }));
    return [parseListenAddress(DEFAULT_LISTEN_ADDRESS)];
  }
  // Left alone, those sockets would take clients in that nobody ever answers.
  if (sockets !== undefined) {
    throw new UsageError(
      'Cannot use --listen together with sockets that the service manager passed on: give all addresses in one place.',
    );
  }
  for (const address of addresses) {
    if (address.kind !== 'fd')
      checkExposure(address, { isTlsRequired: tls?.mode === 'require', isInsecureAllowed });
  }
  return addresses;
}

/**
 * Whether every user of this machine can read the disks: by TCP, without a key of their own. A unix socket and what the service
 * manager passed on may be for some alone.
 */
export function isOpenToMachine(addresses: readonly ListenAddress[], tls: TlsSettings | undefined): boolean {
  const isForAll = tls === undefined || (tls.files.kind === 'x509' && tls.files.caFile === undefined);
  return (isForAll || tls.mode === 'on') && addresses.some(({ kind }) => kind === 'tcp');
}

/**
 * Listens on all addresses.
 *
 * @param exportNames when there are none, the URIs name none either.
 * @returns a URI for each address and export.
 * @throws {EnvironmentError} when one cannot be had; {UsageError} when a socket that was passed on would show disks to
 *   the network in the clear, unless that is allowed.
 */
export async function listenOnAll(
  server: NbdServer,
  addresses: readonly ListenAddress[],
  exportNames: readonly string[],
  { unixMode, tls, isInsecureAllowed = false }: ListenSettings,
): Promise<readonly string[]> {
  const uris: string[] = [];
  const names = exportNames.length === 0 ? [''] : exportNames;
  for (const address of addresses) {
    const bound = await server.listen(address, unixMode === undefined ? {} : { unixMode });
    checkExposure(bound, { isTlsRequired: tls?.mode === 'require', isInsecureAllowed });
    uris.push(...names.map((name) => formatNbdUri(bound, name, { isTls: tls?.mode === 'require' })));
  }
  return uris;
}
