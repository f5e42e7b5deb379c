import { Command } from 'commander';
import type { CommitProgress } from '../app/committing.js';
import type { ApiOptions } from './api-options.js';
import { addApiOptions, apiSettingsOf } from './api-options.js';
import { addPutRateOption, addStateOptions, stateSettingsOf, type StateOptions } from './fork-options.js';
import { StatusLine } from './status-line.js';
import { addWishOptions, wishesOf, type WishOptions } from './wish-options.js';

interface CommitOptions extends ApiOptions, StateOptions, WishOptions {
  readonly wait: boolean;
  readonly live?: true;
  readonly json?: true;
  readonly putRate?: number;
}

/** `snapnbd commit`: makes a snapshot of a disk that was written. */
export function commitCommand(): Command {
  const command = new Command('commit')
    .description('make a snapshot of a fork, or finish one that broke off; print its id')
    .argument('<NAME>', 'of the export, as in NAME=fork:snap-ID')
    .option('--no-wait', 'return when AWS has accepted the snapshot, before it can be read')
    .option('--json', 'one JSON object rather than the id')
    .option('--live', 'also while clients are connected: the disk as it was last flushed');
  return addApiOptions(addPutRateOption(addStateOptions(addWishOptions(command))))
    .addHelpText('after', EXAMPLES)
    .action(run);
}

const EXAMPLES = `
While a server has the fork, it does the work; its options say which AWS is spoken to.

Examples:
  snapnbd commit root --description "after the upgrade" --tag Name=root
  snapnbd commit root --live --no-wait`;

async function run(name: string, options: CommitOptions): Promise<void> {
  const { commitFork, createLogWriter } = await import('../app/committing.js');
  const statusLine = new StatusLine(process.stderr);
  const logger = createLogWriter({ level: 'warn', write: (line) => statusLine.interrupt(line) });
  const startMs = performance.now();
  const result = await commitFork({
    name,
    api: apiSettingsOf(options),
    forks: {
      ...stateSettingsOf(options),
      ...(options.putRate === undefined ? {} : { putsPerSecond: options.putRate }),
    },
    wishes: wishesOf(options),
    live: options.live === true,
    noWait: !options.wait,
    logger,
    onProgress: (progress) => statusLine.show(textOf(progress, (performance.now() - startMs) / 1000)),
  }).finally(() => statusLine.clear());
  if (result.wasResumed) {
    process.stderr.write(
      'Finished a commit that had broken off; what was written after it began is not in it.\n',
    );
  } else if (!result.isNew) {
    process.stderr.write('Nothing to commit: this snapshot holds the disk as it is.\n');
  }
  process.stdout.write(
    options.json === true ? `${JSON.stringify(result, undefined, 2)}\n` : `${result.snapshotId}\n`,
  );
}

function textOf({ step, snapshotId, putCount, dueCount }: CommitProgress, seconds: number): string {
  if (step === 'complete') return `${snapshotId}: waiting for AWS to complete it`;
  if (step === 'readable') return `${snapshotId}: waiting until it can be read`;
  const rate = putCount / Math.max(seconds, 0.001);
  const left = putCount === 0 ? '' : `, ${Math.ceil((dueCount - putCount) / rate)} s left`;
  return `${snapshotId}: ${putCount} of ${dueCount} blocks put, ${rate.toFixed(0)}/s${left}`;
}
