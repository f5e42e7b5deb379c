import { Command, Option } from 'commander';
import type { HistoryEntry } from '../app/history/history.js';
import { EnvironmentError, UsageError } from '../util/errors.js';
import { addApiOptions, addEc2Option, apiSettingsOf, type ApiOptions } from './api-options.js';
import { print } from './printing.js';
import { StatusLine } from './status-line.js';
import { formatTable } from './table.js';

interface HistoryOptions extends ApiOptions {
  readonly path?: string;
  readonly partition?: string;
  readonly limit: number;
  readonly json?: true;
}

const DEFAULT_LIMIT = 50;
/** As many as one page of EC2 holds. A volume is seldom given more. */
const LIMIT_MAX = 1000;

/** `snapnbd history`: the snapshots of a volume in time, and what changed between them. */
export function historyCommand(): Command {
  const command = new Command('history')
    .description('list the snapshots of a volume with what changed between them, and the versions of a file')
    .argument('<VOLUME|SNAP>', 'vol-ID, or snap-ID for that snapshot and the older ones of its volume')
    .option('--path <FILE>', 'tell also which of them hold a different version of it (ext2, ext3, ext4)')
    .option('--partition <WHICH>', 'number, label or UUID (default: the only one with a filesystem)')
    .addOption(
      new Option('--limit <N>', 'list so many, the newest ones').default(DEFAULT_LIMIT).argParser(parseLimit),
    )
    .option('--json', 'an object a line, with all that is known');
  return addEc2Option(addApiOptions(command)).addHelpText('after', EXAMPLES).action(run);
}

const EXAMPLES = `
Needs the package @aws-sdk/client-ec2, ec2:DescribeSnapshots and ebs:ListChangedBlocks; with --path also
ebs:ListSnapshotBlocks and ebs:GetSnapshotBlock.

Examples:
  snapnbd history vol-0123456789abcdef0
  snapnbd history snap-0123456789abcdef0 --path /etc/fstab`;

async function run(subjectText: string, options: HistoryOptions): Promise<void> {
  const { createLogWriter, historyJson, historyTable, parseHistorySubject, tellHistory, watchStopSignals } =
    await import('../app/history/history.js');
  const subject = parseHistorySubject(subjectText);
  const { path, partition, json } = options;
  if (path === '') throw new UsageError('Cannot use "" as --path: name a file.');
  if (partition !== undefined && path === undefined)
    throw new UsageError('Cannot use --partition alone: it says where --path is looked for.');
  const statusLine = new StatusLine(process.stderr);
  const logger = createLogWriter({ level: 'warn', write: (line) => statusLine.interrupt(line) });
  const stop = watchStopSignals(process, logger);
  const entries: HistoryEntry[] = [];
  try {
    const telling = tellHistory({
      ...{ subject, path, partition, logger, signal: stop.signal },
      countMax: options.limit,
      api: apiSettingsOf(options),
      onProgress: (snapshotId, fraction) =>
        statusLine.show(`Comparing ${snapshotId}: ${Math.floor(Math.min(1, fraction) * 100)} %`),
    });
    for await (const entry of telling) {
      entries.push(entry);
      if (json === true) await print(`${historyJson(entry)}\n`);
    }
    statusLine.clear();
    if (json !== true) await print(formatTable(historyTable(entries, path !== undefined)));
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    throw new EnvironmentError('Stopped.', { cause: error });
  } finally {
    stop.dispose();
    statusLine.clear();
  }
  const failed = entries.filter(
    ({ problem, file }) => problem !== undefined || file?.found.state === 'unknown',
  );
  if (failed.length > 0) {
    throw new EnvironmentError(
      `Cannot tell everything: ${failed.length} of ${entries.length} snapshots could not be compared or read, see above.`,
    );
  }
}

function parseLimit(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && count <= LIMIT_MAX) return count;
  throw new UsageError(`Cannot use --limit ${text}: write a whole number from 1 to ${LIMIT_MAX}.`);
}
