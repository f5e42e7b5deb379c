import { Command, Option } from 'commander';
import { EnvironmentError } from '../util/errors.js';
import { formatBytes } from '../util/units.js';
import { parseDescription, parseFill, parseSeed, parseVolumeSizeGib } from './emulator-values.js';
import { StatusLine } from './status-line.js';
import { formatTable } from './table.js';

const BLOCK_BYTES = 512 * 1024;

interface ImportOptions {
  readonly dir: string;
  readonly parent?: string;
  readonly description?: string;
}

/** `snapnbd emulator import`: a snapshot from a raw image. */
export function importCommand(): Command {
  return new Command('import')
    .description('make a snapshot of a raw image or a block device, and print its id')
    .requiredOption('--dir <DIR>', 'folder of the snapshots; made when there is none')
    .argument('<image>', 'raw image or block device; padded with zeros to whole GiB')
    .option('--parent <SNAP>', 'store only what differs from this snapshot')
    .addOption(new Option('--description <TEXT>', 'of the snapshot').argParser(parseDescription))
    .action(runImport);
}

async function runImport(imagePath: string, options: ImportOptions): Promise<void> {
  const [{ importImage }, { watchStopSignals }, { silentLogger }] = await Promise.all([
    import('../emulator/import/import-image.js'),
    import('../app/stop-signals.js'),
    import('../util/logger.js'),
  ]);
  const statusLine = new StatusLine(process.stderr);
  const stop = watchStopSignals(process, silentLogger);
  try {
    const snapshotId = await importImage({
      ...options,
      imagePath,
      signal: stop.signal,
      onProgress: ({ doneBytes, totalBytes, storedBlockCount }) =>
        statusLine.show(
          `Importing ${imagePath}: ${Math.floor((100 * doneBytes) / totalBytes)} %, ${formatBytes(storedBlockCount * BLOCK_BYTES)} stored`,
        ),
    });
    statusLine.clear();
    process.stdout.write(`${snapshotId}\n`);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    throw new EnvironmentError(`Stopped importing ${imagePath}: nothing was stored.`, { cause: error });
  } finally {
    statusLine.clear();
    stop.dispose();
  }
}

interface ListOptions {
  readonly dir: string;
  readonly json?: true;
}

/** `snapnbd emulator list`: the snapshots of a folder. */
export function listCommand(): Command {
  return new Command('list')
    .description('list the snapshots of a folder, the oldest first')
    .requiredOption('--dir <DIR>', 'folder of the snapshots')
    .option('--json', 'one JSON array rather than a table')
    .action(runList);
}

async function runList({ dir, json }: ListOptions): Promise<void> {
  const { listSnapshots } = await import('../emulator/list-snapshots.js');
  const snapshots = await listSnapshots(dir);
  if (json === true) {
    process.stdout.write(`${JSON.stringify(snapshots, null, 2)}\n`);
    return;
  }
  const rows = snapshots.map((snapshot) => [
    snapshot.snapshotId,
    snapshot.state,
    `${snapshot.volumeSizeGib} GiB`,
    snapshot.listedBlockCount === null ? '-' : formatBytes(snapshot.listedBlockCount * BLOCK_BYTES),
    snapshot.ownBlockCount === null ? '-' : formatBytes(snapshot.ownBlockCount * BLOCK_BYTES),
    snapshot.parentSnapshotId ?? '-',
    snapshot.startTime,
    snapshot.description ?? '',
  ]);
  const heading = ['SNAPSHOT', 'STATE', 'SIZE', 'LISTED', 'OWN', 'PARENT', 'STARTED', 'DESCRIPTION'];
  process.stdout.write(formatTable([heading, ...rows]));
}

interface SynthOptions {
  readonly dir: string;
  readonly size: number;
  readonly fill: number;
  readonly seed: number;
  readonly description?: string;
}

/** `snapnbd emulator synth`: a snapshot that is computed. */
export function synthCommand(): Command {
  return new Command('synth')
    .description('make a snapshot whose blocks are computed from a seed and never stored, and print its id')
    .requiredOption('--dir <DIR>', 'folder of the snapshots; made when there is none')
    .addOption(
      new Option('--size <SIZE>', 'of the volume, whole GiB up to 64TiB')
        .argParser(parseVolumeSizeGib)
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--fill <SHARE>', 'share of the blocks that are listed, 0 to 1')
        .argParser(parseFill)
        .default(1),
    )
    .addOption(new Option('--seed <N>', 'of listing and contents').argParser(parseSeed).default(1))
    .addOption(new Option('--description <TEXT>', 'of the snapshot').argParser(parseDescription))
    .action(runSynth);
}

async function runSynth({ size, ...options }: SynthOptions): Promise<void> {
  const { createSynth } = await import('../emulator/synth/create-synth.js');
  const snapshotId = await createSynth({ ...options, volumeSizeGib: size });
  process.stdout.write(`${snapshotId}\n`);
}
