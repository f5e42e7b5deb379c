import { Command, Option } from 'commander';
import type { ImageFormat } from '../app/transfers/downloading.js';
import { UsageError } from '../util/errors.js';
import { addApiOptions, apiSettingsOf, type ApiOptions } from './api-options.js';
import { addTransferOptions, summaryOf, withTransferBar, type TransferOptions } from './transfer-options.js';

interface DownloadOptions extends ApiOptions, TransferOptions {
  readonly format: ImageFormat;
}

/** `snapnbd download`: a snapshot becomes an image, or the contents of a device. */
export function downloadCommand(): Command {
  const command = new Command('download')
    .description('write a whole snapshot to a file, a block device or standard output')
    .argument('<SNAP>', 'snap-ID')
    .argument(
      '<TARGET>',
      'a file, which is replaced when all of it is there; a block device; - for standard output',
    )
    .addOption(
      new Option('--format <FORMAT>', 'of a file; qcow2 is made by qemu-img')
        .choices(['raw', 'qcow2'])
        .default('raw'),
    );
  return addApiOptions(addTransferOptions(command)).addHelpText('after', EXAMPLES).action(run);
}

const EXAMPLES = `
A download that was stopped goes on when the same command is run again. Where the snapshot has no data, a file has
holes, and a device gets zeros where it has something else.

Examples:
  snapnbd download snap-0123456789abcdef0 root.img
  snapnbd download snap-0123456789abcdef0 root.qcow2 --format qcow2
  snapnbd download snap-0123456789abcdef0 /dev/vdb
  snapnbd download snap-0123456789abcdef0 - | zstd > root.img.zst`;

async function run(snapshotText: string, target: string, options: DownloadOptions): Promise<void> {
  const app = await import('../app/transfers/downloading.js');
  const snapshotId = app.checkSnapshotId(snapshotText);
  if (target === '-' && options.json === true)
    throw new UsageError('Cannot use --json with -: standard output has the image.');
  const report = await withTransferBar(app, (context) =>
    app.downloadSnapshot({
      ...context,
      ...{ snapshotId, target, format: options.format, stdout: process.stdout },
      api: apiSettingsOf(options),
      stateDir: options.stateDir,
    }),
  );
  if (options.json === true) process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
  else process.stderr.write(`${snapshotId}: ${summaryOf(report)}\n`);
}
