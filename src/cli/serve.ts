import { Command, Option } from 'commander';
import type * as serving from '../app/serving.js';
import type { ServeSettings } from '../app/settings.js';
import { UsageError } from '../util/errors.js';
import { parseDurationMs } from '../util/units.js';
import { addAnyOptions, onDemandSettingsOf, type AnyOptions } from './any-options.js';
import type { ApiOptions } from './api-options.js';
import { addApiOptions, addEc2Option, apiSettingsOf } from './api-options.js';
import { addCacheOptions, readingSettingsOf, type CacheOptions } from './cache-options.js';
import { configFieldsOf, optionsWithFile } from './config-option.js';
import { addForkServeOptions, forkSettingsOf, type ForkServeOptions } from './fork-options.js';
import { addHttpOptions, httpChoiceOf, type HttpCliOptions } from './http-options.js';
import { PROFILE_HELP, splitProfile } from './profile-option.js';
import type { ListenCliOptions } from './listen-options.js';
import { addListenOptions, listenSettingsOf } from './listen-options.js';

/** Service managers kill after a minute and a half. */
const DRAIN_TIMEOUT_MAX_MS = 3_600_000;
const FD_MAX = 1_048_575;

interface ServeOptions
  extends ApiOptions, AnyOptions, ListenCliOptions, ForkServeOptions, CacheOptions, HttpCliOptions {
  readonly config?: string;
  readonly drainTimeout?: number;
  readonly readyFd?: number;
  readonly logFormat: 'text' | 'json';
  readonly oneBitmap?: true;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  readonly trace?: true;
}

/** `snapnbd serve`: exports snapshots as disks until it is told to stop. */
export function serveCommand(): Command {
  const command = new Command('serve')
    .description('serve snapshots as network block devices')
    .argument(
      '[EXPORT...]',
      'snap-ID, NAME=snap-ID, NAME=fork:snap-ID, NAME=blank:SIZE, or NAME=memory:SIZE; the first is also the default export. ' +
        'After a snapshot ",since=snap-ID" lets clients ask what has changed since that one; repeatable; with --any, clients write it themselves',
    )
    .option(
      '--one-bitmap',
      'offer a dirty bitmap for the first since= alone, for clients such as oVirt that take none of several',
    );
  return addEc2Option(
    addApiOptions(
      addForkServeOptions(addListenOptions(addHttpOptions(addCacheOptions(addAnyOptions(command))))),
      PROFILE_HELP,
    ),
  )
    .option(
      '--config <FILE>',
      'read exports and options from this file (YAML); the command line wins; SIGHUP reads it again',
    )
    .addOption(
      new Option(
        '--drain-timeout <TIME>',
        'how long clients have to finish when the server is stopped; then they are cut (default: 10s)',
      ).argParser(parseDrainTimeoutMs),
    )
    .addOption(
      new Option(
        '--ready-fd <N>',
        'write the URIs to this descriptor as well when ready, and close it',
      ).argParser(parseFd),
    )
    .addOption(
      new Option('--log-format <FORMAT>', 'of the log on stderr').choices(['text', 'json']).default('text'),
    )
    .addOption(
      new Option('--log-level <LEVEL>', 'least severe level that is logged')
        .choices(['debug', 'info', 'warn', 'error'])
        .default('info'),
    )
    .option('--trace', 'log a line for each request of a client, whatever the level')
    .addHelpText('after', EXAMPLES)
    .action(run);
}

const EXAMPLES = `
When it is ready it prints one NBD URI a line for each export and address. SIGHUP reads certificates, keys and --config again.

Examples:
  snapnbd serve snap-0123456789abcdef0
  snapnbd serve root=snap-0123456789abcdef0 --listen unix:/run/snapnbd.sock
  snapnbd serve today=snap-0123456789abcdef1,since=snap-0123456789abcdef0    (see docs/BACKUP.md)
  snapnbd serve --any --allow 'tag:Name=prod-*'    (a client names snap-ID, or snap-ID,since=snap-ID)
  snapnbd serve --config /etc/snapnbd.yaml
  snapnbd serve scratch=memory:1GiB --listen 127.0.0.1:0
  snapnbd serve root=fork:snap-0123456789abcdef0    (writable; then "snapnbd commit root")
  snapnbd serve snap-0123456789abcdef0 --listen 0.0.0.0:10809 --tls require --tls-psk keys.psk`;

async function run(
  exportTexts: readonly string[],
  cliOptions: ServeOptions,
  command: Command,
): Promise<void> {
  const app = await import('../app/serving.js');
  const read = (): Promise<Read> => readAll(app, exportTexts, cliOptions, command);
  const started = await read();
  const { options } = started;
  const target = { format: options.logFormat, write: (line: string) => process.stderr.write(line) };
  const logger = app.createLogWriter({ ...target, level: options.logLevel });
  await app.serveUntilStopped({
    settings: settingsOf(app, started),
    logger,
    trace: options.trace === true ? app.createLogWriter({ ...target, level: 'debug' }) : undefined,
    onReady: (uris) => process.stdout.write(uris.map((uri) => `${uri}\n`).join('')),
    drainTimeoutMs: options.drainTimeout,
    readyFd: options.readyFd,
    ...(cliOptions.config === undefined
      ? {}
      : {
          reread: async () => {
            const now = await read();
            const { exports } = settingsOf(app, now);
            return { exports, changedOptions: changedOptions(started.options, now.options) };
          },
        }),
  });
}

type App = typeof serving;

/** What the command line and the file say together. */
interface Read {
  readonly exportTexts: readonly string[];
  readonly options: ServeOptions;
}

async function readAll(
  app: App,
  exportTexts: readonly string[],
  options: ServeOptions,
  command: Command,
): Promise<Read> {
  const path = options.config;
  if (path === undefined) return { exportTexts, options };
  const file = await app.readConfigFile(path, configFieldsOf(command));
  return {
    exportTexts: exportTexts.length > 0 ? exportTexts : (file.exports ?? []),
    options: optionsWithFile(command, file, path) as ServeOptions,
  };
}

function settingsOf(app: App, { exportTexts, options }: Read): ServeSettings {
  const onDemand = onDemandSettingsOf(options, app.parseAllowRule);
  if (exportTexts.length === 0 && onDemand === undefined) {
    throw new UsageError(
      'Cannot serve nothing: name an EXPORT, such as snap-0123456789abcdef0, or say --any. Run "snapnbd serve --help".',
    );
  }
  const http = httpChoiceOf(options);
  const profile = splitProfile(options);
  const addressTexts = options.listen ?? [];
  if (new Set(addressTexts).size !== addressTexts.length) {
    throw new UsageError('Cannot listen on one address twice: each --listen has to be another one.');
  }
  return {
    exports: app.parseExportSpecs(exportTexts),
    ...(onDemand === undefined ? {} : { onDemand }),
    ...(http === undefined ? {} : { http: app.httpSettingsOf(http) }),
    hasOneBitmap: options.oneBitmap === true,
    listen: {
      ...listenSettingsOf(options),
      addresses: addressTexts.map((text) => app.parseListenAddress(text)),
    },
    api: apiSettingsOf(profile.api),
    ...profile.settings,
    forks: forkSettingsOf(options),
    ...readingSettingsOf(options),
  };
}

/** The names of options that have another value now. */
function changedOptions(before: ServeOptions, now: ServeOptions): readonly string[] {
  const was = new Map(Object.entries(before));
  const is = new Map(Object.entries(now));
  const keys = new Set([...was.keys(), ...is.keys()]);
  return [...keys]
    .filter((key) => JSON.stringify(was.get(key)) !== JSON.stringify(is.get(key)))
    .map((key) => key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`));
}

function parseDrainTimeoutMs(text: string): number {
  const timeoutMs = parseDurationMs(text);
  if (timeoutMs <= DRAIN_TIMEOUT_MAX_MS) return timeoutMs;
  throw new UsageError(`Cannot use --drain-timeout ${text}: it is at most 1h.`);
}

function parseFd(text: string): number {
  const fd = /^\d+$/.test(text) ? Number(text) : 0;
  if (fd >= 3 && fd <= FD_MAX) return fd;
  throw new UsageError(`Cannot use --ready-fd ${text}: name a descriptor from 3 on that was opened for it.`);
}
