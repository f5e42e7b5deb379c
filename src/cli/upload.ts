import { Command, Option } from 'commander';
import { addApiOptions, apiSettingsOf, type ApiOptions } from './api-options.js';
import {
  addMakingOptions,
  makingWishesOf,
  parseVolumeSize,
  summaryOf,
  withTransferBar,
  type MakingOptions,
} from './transfer-options.js';

interface UploadOptions extends ApiOptions, MakingOptions {
  readonly volumeSize?: number;
}

/** `snapnbd upload`: an image becomes a snapshot. */
export function uploadCommand(): Command {
  const command = new Command('upload')
    .description('make a snapshot of a raw image; print its id')
    .argument('<SOURCE>', 'a raw image in a file, a block device, or - for standard input')
    .addOption(
      new Option(
        '--volume-size <GIB>',
        'of the snapshot (default: what the image and the parent need); standard input is then not kept on disk first',
      ).argParser(parseVolumeSize),
    );
  return addApiOptions(addMakingOptions(command)).addHelpText('after', EXAMPLES).action(run);
}

const EXAMPLES = `
An upload that was stopped goes on when the same command is run again: every block is read again, and put when it is
not what was put before. Other formats: qemu-img convert -O raw IMAGE DISK.

Examples:
  snapnbd upload root.img --description "as built" --tag Name=root
  snapnbd upload root.img --parent snap-0123456789abcdef0
  zstd -dc root.img.zst | snapnbd upload - --volume-size 20`;

async function run(source: string, options: UploadOptions): Promise<void> {
  const app = await import('../app/transfers/uploading.js');
  const wishes = makingWishesOf(options);
  const report = await withTransferBar(app, (context) =>
    app.uploadImage({
      ...context,
      ...{ source, wishes, stdin: process.stdin },
      api: apiSettingsOf(options),
      stateDir: options.stateDir,
      putsPerSecond: options.putRate,
      parentSnapshotId: options.parent === undefined ? undefined : app.checkSnapshotId(options.parent),
      volumeSizeGib: options.volumeSize,
    }),
  );
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
  } else {
    process.stderr.write(`${summaryOf(report)}\n`);
    process.stdout.write(`${report.snapshotId}\n`);
  }
}
