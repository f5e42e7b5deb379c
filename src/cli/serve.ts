import { Command, Option } from 'commander';
import { UsageError } from '../util/errors.js';
import type { ApiOptions } from './api-options.js';
import { addApiOptions, apiSettingsOf } from './api-options.js';
import { addCacheOptions, readingSettingsOf, type CacheOptions } from './cache-options.js';
import { addForkServeOptions, forkSettingsOf, type ForkServeOptions } from './fork-options.js';
import type { ListenCliOptions } from './listen-options.js';
import { addListenOptions, listenSettingsOf } from './listen-options.js';

interface ServeOptions extends ApiOptions, ListenCliOptions, ForkServeOptions, CacheOptions {
  readonly logFormat: 'text' | 'json';
  readonly oneBitmap?: true;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

/** `snapnbd serve`: exports snapshots as disks until it is told to stop. */
export function serveCommand(): Command {
  const command = new Command('serve')
    .description('serve snapshots as network block devices')
    .argument(
      '<EXPORT...>',
      'snap-ID, NAME=snap-ID, NAME=fork:snap-ID, NAME=blank:SIZE, or NAME=memory:SIZE; the first is also the default export. ' +
        'After a snapshot ",since=snap-ID" lets clients ask what has changed since that one; repeatable',
    )
    .option(
      '--one-bitmap',
      'offer a dirty bitmap for the first since= alone, for clients such as oVirt that take none of several',
    );
  return addApiOptions(addForkServeOptions(addListenOptions(addCacheOptions(command))))
    .addOption(
      new Option('--log-format <FORMAT>', 'of the log on stderr').choices(['text', 'json']).default('text'),
    )
    .addOption(
      new Option('--log-level <LEVEL>', 'least severe level that is logged')
        .choices(['debug', 'info', 'warn', 'error'])
        .default('info'),
    )
    .addHelpText('after', EXAMPLES)
    .action(run);
}

const EXAMPLES = `
When it is ready it prints one NBD URI a line for each export and address. SIGHUP reads certificates and keys again.

Examples:
  snapnbd serve snap-0123456789abcdef0
  snapnbd serve root=snap-0123456789abcdef0 --listen unix:/run/snapnbd.sock
  snapnbd serve today=snap-0123456789abcdef1,since=snap-0123456789abcdef0    (see docs/BACKUP.md)
  snapnbd serve scratch=memory:1GiB --listen 127.0.0.1:0
  snapnbd serve root=fork:snap-0123456789abcdef0    (writable; then "snapnbd commit root")
  snapnbd serve snap-0123456789abcdef0 --listen 0.0.0.0:10809 --tls require --tls-psk keys.psk`;

async function run(exportTexts: readonly string[], options: ServeOptions): Promise<void> {
  const { parseExportSpecs, parseListenAddress, serveUntilStopped, createLogWriter } =
    await import('../app/serving.js');
  const logger = createLogWriter({
    format: options.logFormat,
    level: options.logLevel,
    write: (line) => process.stderr.write(line),
  });
  const addressTexts = options.listen ?? [];
  if (new Set(addressTexts).size !== addressTexts.length) {
    throw new UsageError('Cannot listen on one address twice: each --listen has to be another one.');
  }
  await serveUntilStopped({
    settings: {
      exports: parseExportSpecs(exportTexts),
      hasOneBitmap: options.oneBitmap === true,
      listen: {
        ...listenSettingsOf(options),
        addresses: addressTexts.map((text) => parseListenAddress(text)),
      },
      api: apiSettingsOf(options),
      forks: forkSettingsOf(options),
      ...readingSettingsOf(options),
    },
    logger,
    onReady: (uris) => process.stdout.write(uris.map((uri) => `${uri}\n`).join('')),
  });
}
