import { Command } from 'commander';
import { EnvironmentError } from '../util/errors.js';
import { addApiOptions, apiSettingsOf, type ApiOptions } from './api-options.js';
import { mainPath } from './main-path.js';

interface MountOptions extends ApiOptions {
  readonly partition?: string;
  readonly rw?: boolean;
  readonly stateDir?: string;
}

const STATE_DIR = 'folder for records of mounts, and forks (default: $XDG_STATE_HOME/snapnbd)';

/** `snapnbd mount`: serves, attaches and mounts in one go. */
export function mountCommand(): Command {
  const command = new Command('mount')
    .description('mount a filesystem of a snapshot (as root)')
    .argument('<SNAP>', 'snap-ID')
    .argument('<DIR>', 'where to mount it')
    .option('--partition <WHICH>', 'number, label or UUID (default: the only one with a filesystem)')
    .option('--rw', 'mount a fork that can be written, and committed afterwards (default: read-only)')
    .option('--state-dir <DIR>', STATE_DIR);
  return addApiOptions(command).action(mount);
}

/** `snapnbd umount`: undoes all that `snapnbd mount` did. */
export function umountCommand(): Command {
  return new Command('umount')
    .description('undo "snapnbd mount", also after a crash')
    .argument('<DIR>', 'where it is mounted')
    .option('--state-dir <DIR>', STATE_DIR)
    .action(umount);
}

async function mount(snapshotId: string, directory: string, options: MountOptions): Promise<void> {
  const { mountSnapshot, createLogWriter, watchStopSignals } = await import('../app/mounting/mounting.js');
  const logger = createLogWriter({ level: 'warn', write: (line) => process.stderr.write(line) });
  const stopping = watchStopSignals(process, logger);
  const mounted = await mountSnapshot({
    snapshotId,
    directory,
    partition: options.partition,
    isWritable: options.rw === true,
    api: apiSettingsOf(options),
    stateDir: options.stateDir,
    mainPath: mainPath(),
    logger,
    onNote: (line) => process.stderr.write(`snapnbd: ${line}\n`),
    signal: stopping.signal,
  })
    .catch((error: unknown) => {
      throw stopping.signal.aborted ? new EnvironmentError('Stopped: nothing is mounted.') : error;
    })
    .finally(() => stopping.dispose());
  const { type, partition, forkName } = mounted;
  const what = partition === undefined ? type : `${type} of partition ${partition}`;
  process.stdout.write(
    `${mounted.directory}: ${what}, ${forkName === undefined ? 'read-only' : `fork ${forkName}`}\n`,
  );
  if (forkName !== undefined) {
    process.stdout.write(
      `To keep what is written: "snapnbd umount ${directory}", then "snapnbd commit ${forkName}".\n`,
    );
  }
}

async function umount(directory: string, options: Pick<MountOptions, 'stateDir'>): Promise<void> {
  const { unmountSnapshot, createLogWriter } = await import('../app/mounting/mounting.js');
  const logger = createLogWriter({ level: 'warn', write: (line) => process.stderr.write(line) });
  const forkName = await unmountSnapshot({ directory, stateDir: options.stateDir, logger });
  if (forkName === undefined) return;
  process.stdout.write(
    `The fork ${forkName} is kept: "snapnbd commit ${forkName}" or "snapnbd discard ${forkName}".\n`,
  );
}
