import { Command } from 'commander';
import { EnvironmentError, UsageError } from '../util/errors.js';
import { formatBytes } from '../util/units.js';
import { addApiOptions, apiSettingsOf, type ApiOptions } from './api-options.js';
import { mainPath } from './main-path.js';
import { StatusLine } from './status-line.js';

interface CpOptions extends ApiOptions {
  readonly recursive?: boolean;
  readonly force?: boolean;
  readonly partition?: string;
  readonly json?: boolean;
}

/** `snapnbd cp`: copies files out of a snapshot, without mounting it. */
export function cpCommand(): Command {
  const command = new Command('cp')
    .description('copy files out of a snapshot (without root: ext2, ext3, ext4)')
    .argument('<SNAP:PATH...>', 'files of one snapshot, and last where to: a directory, or a new name')
    .option('-r, --recursive', 'directories, with all that is in them')
    .option(
      '-f, --force',
      'replace files that are there, and set the modes and times of directories (default: they stay, and are counted as failures)',
    )
    .option('--partition <WHICH>', 'number, label or UUID (default: the only one with a filesystem)')
    .option('--json', 'what was copied as JSON');
  return addApiOptions(command).addHelpText('after', NOTES).action(run);
}

const NOTES = `
Modes, times, symbolic and hard links are kept, and owners when root; holes stay holes. Extended attributes and access
control lists are kept where setfattr is installed; those that could not be are counted, on stderr and in --json.
Devices, sockets and pipes are skipped.

Example:
  snapnbd cp -r snap-0123456789abcdef0:/etc snap-0123456789abcdef0:/home/ann /tmp/restored`;

async function run(texts: readonly string[], options: CpOptions): Promise<void> {
  const { parseSnapshotPath, openSnapshotVolume, copyFiles, createLogWriter, watchStopSignals } =
    await import('../app/files/browsing.js');
  const destination = texts.at(-1) ?? '';
  const places = texts.slice(0, -1).map((text) => parseSnapshotPath(text));
  const [first] = places;
  if (first === undefined) {
    throw new UsageError(
      'Cannot copy: name SNAP:PATH and then where to, such as "snapnbd cp SNAP:/etc/fstab .".',
    );
  }
  if (places.some(({ snapshotId }) => snapshotId !== first.snapshotId)) {
    throw new UsageError('Cannot copy from several snapshots at once: copy from one after another.');
  }
  const status = new StatusLine(process.stderr);
  const logger = createLogWriter({ level: 'warn', write: (line) => status.interrupt(line) });
  const stop = watchStopSignals(process, logger);
  const stopped = (error: unknown): never => {
    throw stop.signal.aborted ? new EnvironmentError('Stopped.', { cause: error }) : error;
  };
  const volume = await openSnapshotVolume({
    snapshotId: first.snapshotId,
    partition: options.partition,
    api: apiSettingsOf(options),
    logger,
    mainPath: mainPath(),
    onNote: (line) => status.interrupt(`snapnbd: ${line}\n`),
    signal: stop.signal,
  }).catch(stopped);
  try {
    const result = await copyFiles({
      filesystem: volume.filesystem,
      paths: places.map(({ path }) => path),
      destination,
      isRecursive: options.recursive === true,
      isForced: options.force === true,
      signal: stop.signal,
      onProblem: (line) => status.interrupt(`snapnbd: ${line}\n`),
      onProgress: ({ fileCount, bytes, current }) =>
        status.show(`${fileCount} files, ${formatBytes(bytes)}  ${current}`),
    });
    status.clear();
    if (options.json === true) process.stdout.write(`${JSON.stringify(result)}\n`);
    if (result.failureCount > 0) {
      throw new EnvironmentError(
        `Cannot copy everything: ${result.failureCount} could not be copied, see above (${result.fileCount} were).`,
      );
    }
  } catch (error) {
    stopped(error);
  } finally {
    status.clear();
    await volume.close();
    stop.dispose();
  }
}
