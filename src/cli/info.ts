import { Command } from 'commander';
import { formatBytes } from '../util/units.js';
import type { ApiOptions } from './api-options.js';
import { addApiOptions, apiSettingsOf } from './api-options.js';
import { StatusLine } from './status-line.js';

interface InfoOptions extends ApiOptions {
  readonly json?: true;
}

/** `snapnbd info`: what there is to know of a snapshot through its listing. */
export function infoCommand(): Command {
  const command = new Command('info')
    .description('show the size of a snapshot, how much of it is written, and when its block tokens expire')
    .argument('<SNAP>', 'snap-ID')
    .option('--json', 'one JSON object rather than text');
  return addApiOptions(command).action(run);
}

async function run(snapshotText: string, options: InfoOptions): Promise<void> {
  const { checkSnapshotId, createLogWriter, readSnapshotInfo } = await import('../app/inspecting.js');
  const statusLine = new StatusLine(process.stderr);
  const logger = createLogWriter({ level: 'warn', write: (line) => statusLine.interrupt(line) });
  const snapshotId = checkSnapshotId(snapshotText);
  const info = await readSnapshotInfo({
    snapshotId,
    api: apiSettingsOf(options),
    logger,
    onProgress: ({ listedBlockCount, scannedFraction }) =>
      statusLine.show(
        `Listing ${snapshotId}: ${listedBlockCount} blocks, ${Math.floor(scannedFraction * 100)} %`,
      ),
  }).finally(() => statusLine.clear());
  process.stdout.write(options.json === true ? `${JSON.stringify(info, undefined, 2)}\n` : formatInfo(info));
}

function formatInfo(info: {
  readonly snapshotId: string;
  readonly volumeSizeGib: number;
  readonly volumeBlockCount: number;
  readonly listedBlockCount: number;
  readonly listedBytes: number;
  readonly tokensExpireAt: string | null;
  readonly listCallCount: number;
  readonly costUsd: number;
}): string {
  const share = ((100 * info.listedBlockCount) / info.volumeBlockCount).toFixed(1);
  return [
    `snapshot  ${info.snapshotId}`,
    `size      ${info.volumeSizeGib} GiB (${info.volumeBlockCount} blocks of 512 KiB)`,
    `listed    ${formatBytes(info.listedBytes)} (${info.listedBlockCount} blocks, ${share} %); the rest reads as zeros`,
    `expiry    ${info.tokensExpireAt ?? 'none: there are no block tokens'}`,
    `calls     ${info.listCallCount} of ListSnapshotBlocks ($${info.costUsd.toFixed(6)})`,
    '',
  ].join('\n');
}
