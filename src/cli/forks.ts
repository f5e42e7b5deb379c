import { Command } from 'commander';
import type { ForkStatus } from '../app/committing.js';
import { formatBytes } from '../util/units.js';
import { addStateOptions, stateSettingsOf, type StateOptions } from './fork-options.js';
import { formatTable } from './table.js';

interface ForksOptions extends StateOptions {
  readonly json?: true;
}

/** `snapnbd forks`: what disks that can be written there are. */
export function forksCommand(): Command {
  const command = new Command('forks')
    .description('list the forks: what each is based on, how much is staged, and when it was last flushed')
    .option('--json', 'JSON rather than text');
  return addStateOptions(command).action(listAll);
}

/** `snapnbd discard`: gives up a fork and what was not committed. */
export function discardCommand(): Command {
  const command = new Command('discard')
    .description('remove a fork and everything in it that was not committed')
    .argument('<NAME>', 'of the export, as in NAME=fork:snap-ID');
  return addStateOptions(command).action(discard);
}

async function listAll(options: ForksOptions): Promise<void> {
  const { createLogWriter, listForks } = await import('../app/committing.js');
  const logger = createLogWriter({ level: 'warn', write: (line) => process.stderr.write(line) });
  const forks = await listForks(stateSettingsOf(options), logger);
  process.stdout.write(options.json === true ? `${JSON.stringify(forks, undefined, 2)}\n` : tableOf(forks));
}

async function discard(name: string, options: StateOptions): Promise<void> {
  const { createLogWriter, discardFork } = await import('../app/committing.js');
  const logger = createLogWriter({ level: 'warn', write: (line) => process.stderr.write(line) });
  await discardFork(name, stateSettingsOf(options), logger);
}

function tableOf(forks: readonly ForkStatus[]): string {
  return formatTable([
    ['NAME', 'BASE', 'SIZE', 'STAGED', 'PUT', 'STATE', 'LAST FLUSH'],
    ...forks.map((fork) => [
      fork.name,
      fork.baseSnapshotId ?? 'blank',
      formatBytes(fork.sizeBytes),
      formatBytes(fork.stagedBytes),
      `${fork.putBlockCount} blocks`,
      fork.state,
      fork.lastFlushAt ?? 'never',
    ]),
  ]);
}
