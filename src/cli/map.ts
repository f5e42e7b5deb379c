import { Command } from 'commander';
import { EnvironmentError, UsageError } from '../util/errors.js';
import { addApiOptions, apiSettingsOf, type ApiOptions } from './api-options.js';
import { print } from './printing.js';
import { StatusLine } from './status-line.js';

interface MapOptions extends ApiOptions {
  readonly against?: string;
  readonly png?: string;
  readonly svg?: string;
  readonly exact?: true;
  readonly json?: true;
}

const DEFAULT_COLUMNS = 80;

/** `snapnbd map`: where the data of a snapshot lies, and what has changed. */
export function mapCommand(): Command {
  const command = new Command('map')
    .description('draw where the data of a snapshot lies, and what has changed since another one')
    .argument('<SNAP>', 'snap-ID')
    .option('--against <SNAP>', 'an older snapshot of the same volume: show also what has changed since')
    .option('--png <FILE>', 'draw it into this file too')
    .option('--svg <FILE>', 'draw it into this file too, with labels')
    .option('--exact', 'list all of it; a full volume above 2.4 TiB is otherwise looked at in places')
    .option('--json', 'one JSON object with all ranges in bytes rather than a picture; always exact');
  return addApiOptions(command).addHelpText('after', EXAMPLES).action(run);
}

const EXAMPLES = `
Examples:
  snapnbd map snap-0123456789abcdef0
  snapnbd map snap-0123456789abcdef0 --against snap-0fedcba9876543210 --svg changes.svg
  snapnbd map snap-0123456789abcdef0 --json | jq '.data | length'`;

async function run(snapshotText: string, options: MapOptions): Promise<void> {
  const { checkSnapshotId, createLogWriter, watchStopSignals } = await import('../app/transfers/mapping.js');
  const snapshotId = checkSnapshotId(snapshotText);
  const againstSnapshotId = options.against === undefined ? undefined : checkSnapshotId(options.against);
  if (options.json === true && (options.png ?? options.svg) !== undefined)
    throw new UsageError('Cannot use --json with --png or --svg: it draws nothing.');
  const statusLine = new StatusLine(process.stderr);
  const logger = createLogWriter({ level: 'warn', write: (line) => statusLine.interrupt(line) });
  const stop = watchStopSignals(process, logger);
  const task = {
    ...{ snapshotId, againstSnapshotId, logger, signal: stop.signal },
    api: apiSettingsOf(options),
    onProgress: (scanned: number) =>
      statusLine.show(`Listing ${snapshotId}: ${Math.floor(Math.min(1, scanned) * 100)} %`),
  };
  try {
    if (options.json === true) {
      const { writeMapJson } = await import('../app/transfers/map-json.js');
      await writeMapJson(task, print);
      return;
    }
    const { drawSnapshot } = await import('../app/transfers/map-drawing.js');
    const lines = await drawSnapshot({
      ...task,
      isExact: options.exact === true,
      ...{ pngPath: options.png, svgPath: options.svg },
      style: {
        columns: process.stdout.columns || DEFAULT_COLUMNS,
        isUnicode: isUtf8(process.env),
        isColoured: process.stdout.isTTY && (process.env.NO_COLOR ?? '') === '',
      },
    });
    statusLine.clear();
    process.stdout.write(lines.map((line) => `${line}\n`).join(''));
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    throw new EnvironmentError('Stopped.', { cause: error });
  } finally {
    stop.dispose();
    statusLine.clear();
  }
}

/** What the locale says of the terminal's characters. [POSIX: the first that is set and not empty] */
export function isUtf8({ LC_ALL, LC_CTYPE, LANG }: NodeJS.ProcessEnv): boolean {
  const locale = [LC_ALL, LC_CTYPE, LANG].find((value) => value !== undefined && value !== '') ?? '';
  return /utf-?8/i.test(locale);
}
