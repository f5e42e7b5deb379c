import { Command } from 'commander';
import { addApiOptions, apiSettingsOf, type ApiOptions } from './api-options.js';
import { addStateOptions, type StateOptions } from './fork-options.js';

interface ProfileOptions extends ApiOptions, StateOptions {
  readonly cacheDir?: string;
}

/** `snapnbd profile`: ships what was recorded of the reads of a snapshot. */
export function profileCommand(): Command {
  const exporting = new Command('export')
    .description('write the profile of a snapshot, as JSON')
    .argument('<SNAP>', 'snap-ID')
    .argument('<FILE>', 'where to; - for standard output');
  const importing = new Command('import')
    .description('take a profile in, for "snapnbd serve --profile use"')
    .argument('<FILE>', 'as it was exported; - for standard input');
  return new Command('profile')
    .description('what clients read first of a snapshot, as "snapnbd serve --profile" records it')
    .addCommand(addPlaceOptions(exporting).action(runExport))
    .addCommand(addPlaceOptions(importing).action(runImport));
}

function addPlaceOptions(command: Command): Command {
  return addApiOptions(
    addStateOptions(command.option('--cache-dir <DIR>', 'the disk cache that the profile lies beside')),
  );
}

async function runExport(snapshotId: string, path: string, options: ProfileOptions): Promise<void> {
  const { exportProfile } = await import('../app/profile-shipping.js');
  const text = exportProfile(snapshotId, path, placeOf(options));
  if (text !== undefined) process.stdout.write(text);
}

async function runImport(path: string, options: ProfileOptions): Promise<void> {
  const { importProfile } = await import('../app/profile-shipping.js');
  const { snapshotId, blockCount } = importProfile(path, placeOf(options));
  process.stdout.write(`${snapshotId}: ${blockCount} blocks\n`);
}

function placeOf(options: ProfileOptions): {
  readonly cacheDir: string | undefined;
  readonly stateDir: string | undefined;
  readonly api: ReturnType<typeof apiSettingsOf>;
} {
  return { cacheDir: options.cacheDir, stateDir: options.stateDir, api: apiSettingsOf(options) };
}
