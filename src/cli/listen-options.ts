import type { Command } from 'commander';
import { Option } from 'commander';
import type { ListenSettings, TlsSettings } from '../app/settings.js';
import { UsageError } from '../util/errors.js';

/** The options that say who may connect, and how, as commander gives them. */
export interface ListenCliOptions {
  readonly listen?: readonly string[];
  readonly unixMode?: number;
  readonly insecure?: true;
  readonly maxConnections?: number;
  readonly tls: 'off' | 'on' | 'require';
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsCa?: string;
  readonly tlsAllow?: readonly string[];
  readonly tlsPsk?: string;
}

const collect = (text: string, earlier: readonly string[] | undefined): readonly string[] => [
  ...(earlier ?? []),
  text,
];

/** Adds the options of a command that listens for NBD clients. */
export function addListenOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--listen <ADDRESS>',
        'HOST:PORT, [IPV6]:PORT or unix:PATH; repeatable; port 0 picks a free one (default: the sockets that systemd ' +
          'passed on, else 127.0.0.1:10809)',
      ).argParser(collect),
    )
    .addOption(
      new Option('--unix-mode <MODE>', 'permissions of unix sockets, octal (default: 0600)').argParser(
        parseMode,
      ),
    )
    .addOption(
      new Option('--max-connections <N>', 'clients at the same time (default: 128)').argParser(
        parseConnections,
      ),
    )
    .option('--insecure', 'listen without required TLS where others in the network can connect')
    .addOption(
      new Option('--tls <MODE>', 'on: clients may use TLS; require: they must')
        .choices(['off', 'on', 'require'])
        .default('off'),
    )
    .option('--tls-cert <FILE>', 'certificate of the server and its chain, PEM')
    .option('--tls-key <FILE>', 'key of the certificate, PEM')
    .option('--tls-ca <FILE>', 'clients need a certificate signed by one of these, PEM')
    .addOption(
      new Option(
        '--tls-allow <DN>',
        'name that a client certificate must have, such as CN=laptop; repeatable',
      ).argParser(collect),
    )
    .addOption(
      new Option('--tls-psk <FILE>', 'keys shared with clients: lines of user:hexkey').conflicts([
        'tlsCert',
        'tlsKey',
        'tlsCa',
        'tlsAllow',
      ]),
    );
}

/** The settings that the options stand for, addresses apart. @throws {UsageError} when they do not go together. */
export function listenSettingsOf(options: ListenCliOptions): ListenSettings {
  const tls = tlsSettingsOf(options);
  return {
    isInsecureAllowed: options.insecure === true,
    ...(options.unixMode === undefined ? {} : { unixMode: options.unixMode }),
    ...(options.maxConnections === undefined ? {} : { connectionsMax: options.maxConnections }),
    ...(tls === undefined ? {} : { tls }),
  };
}

function tlsSettingsOf(options: ListenCliOptions): TlsSettings | undefined {
  const { tls, tlsCert, tlsKey, tlsCa, tlsAllow, tlsPsk } = options;
  if (tls === 'off') {
    if ([tlsCert, tlsKey, tlsCa, tlsAllow, tlsPsk].some((value) => value !== undefined)) {
      throw new UsageError('Cannot use a --tls-... option while TLS is off: add --tls require, or --tls on.');
    }
    return undefined;
  }
  if (tlsPsk !== undefined) return { mode: tls, files: { kind: 'psk', pskFile: tlsPsk } };
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new UsageError(
      `Cannot use --tls ${tls} without keys: give --tls-cert and --tls-key, or --tls-psk.`,
    );
  }
  if (tlsAllow !== undefined && tlsCa === undefined) {
    throw new UsageError(
      'Cannot use --tls-allow without --tls-ca: only certificates that were checked have a name.',
    );
  }
  return {
    mode: tls,
    files: {
      kind: 'x509',
      certFile: tlsCert,
      keyFile: tlsKey,
      ...(tlsCa === undefined ? {} : { caFile: tlsCa }),
    },
    ...(tlsAllow === undefined ? {} : { allowedNames: tlsAllow }),
  };
}

function parseMode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) {
    throw new UsageError(`Cannot use --unix-mode ${text}: write three octal digits, such as 0660.`);
  }
  return Number.parseInt(text, 8);
}

/** More descriptors than systems give one process by default. */
const CONNECTIONS_LIMIT = 65_536;

function parseConnections(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count < 1 || count > CONNECTIONS_LIMIT) {
    throw new UsageError(
      `Cannot use --max-connections ${text}: write a number from 1 to ${CONNECTIONS_LIMIT}.`,
    );
  }
  return count;
}
