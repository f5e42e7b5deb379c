import { Command } from 'commander';
import { EnvironmentError } from '../util/errors.js';
import { addApiOptions, apiSettingsOf, type ApiOptions } from './api-options.js';
import { mainPath } from './main-path.js';

interface LsOptions extends ApiOptions {
  readonly long?: boolean;
  readonly recursive?: boolean;
  readonly json?: boolean;
  readonly partition?: string;
}

/** `snapnbd ls`: the files of a snapshot, without mounting it. */
export function lsCommand(): Command {
  const command = new Command('ls')
    .description('list files of a snapshot (without root: ext2, ext3, ext4)')
    .argument('<SNAP[:PATH]>', 'a snapshot, and a path in it (default: its root)')
    .option('-l, --long', 'kind, mode, links, owner, group, size and time of change (UTC) as well')
    .option('-a, --all', 'names that begin with a dot are listed in any case')
    .option('-R, --recursive', 'all that is beneath as well')
    .option('--json', 'an object a line, with all that is known')
    .option('--partition <WHICH>', 'number, label or UUID (default: the only one with a filesystem)');
  return addApiOptions(command).action(run);
}

async function run(place: string, options: LsOptions): Promise<void> {
  const {
    parseSnapshotPath,
    openSnapshotVolume,
    listFiles,
    longLine,
    jsonLine,
    shownName,
    createLogWriter,
    watchStopSignals,
  } = await import('../app/files/browsing.js');
  const { snapshotId, path } = parseSnapshotPath(place);
  const logger = createLogWriter({ level: 'warn', write: (line) => process.stderr.write(line) });
  const stop = watchStopSignals(process, logger);
  const stopped = (error: unknown): never => {
    throw stop.signal.aborted ? new EnvironmentError('Stopped.', { cause: error }) : error;
  };
  const volume = await openSnapshotVolume({
    snapshotId,
    partition: options.partition,
    api: apiSettingsOf(options),
    logger,
    mainPath: mainPath(),
    onNote: (line) => process.stderr.write(`snapnbd: ${line}\n`),
    signal: stop.signal,
  }).catch(stopped);
  try {
    let problemCount = 0;
    const listed = listFiles({
      filesystem: volume.filesystem,
      path,
      isRecursive: options.recursive === true,
      signal: stop.signal,
      onProblem: (line) => {
        problemCount += 1;
        process.stderr.write(`snapnbd: ${line}\n`);
      },
    });
    for await (const file of listed) {
      const line =
        options.json === true
          ? jsonLine(file)
          : options.long === true
            ? longLine(file)
            : shownName(file.path);
      if (!process.stdout.write(`${line}\n`)) await untilDrained();
      // Whoever read the first lines and went away needs no more of them.
      if (process.stdout.writableEnded || process.stdout.destroyed) break;
    }
    if (problemCount > 0) {
      throw new EnvironmentError(
        `Cannot list everything: ${problemCount} places could not be read, see above.`,
      );
    }
  } catch (error) {
    stopped(error);
  } finally {
    await volume.close();
    stop.dispose();
  }
}

function untilDrained(): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      process.stdout.off('drain', done);
      process.stdout.off('close', done);
      process.stdout.off('error', done);
      resolve();
    };
    process.stdout.on('drain', done);
    process.stdout.on('close', done);
    process.stdout.on('error', done);
  });
}
