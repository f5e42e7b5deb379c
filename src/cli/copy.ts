import { Command, Option } from 'commander';
import type { ApiSettings } from '../app/settings.js';
import { addApiOptions, apiSettingsOf, type ApiOptions } from './api-options.js';
import {
  addMakingOptions,
  makingWishesOf,
  summaryOf,
  withTransferBar,
  type MakingOptions,
} from './transfer-options.js';

interface CopyOptions extends ApiOptions, MakingOptions {
  readonly toRegion?: string;
  readonly toProfile?: string;
  readonly toEndpointUrl?: string;
  readonly toEmulator?: string;
}

/** `snapnbd copy`: a snapshot becomes another one, here or elsewhere. */
export function copyCommand(): Command {
  const command = new Command('copy')
    .description('make a snapshot with the contents of another one, also in another region; print its id')
    .argument('<SNAP>', 'snap-ID')
    .option('--to-region <REGION>', 'region of the copy (default: that of the snapshot)')
    .option('--to-profile <PROFILE>', 'profile for the copy, such as one of another account')
    .option('--to-endpoint-url <URL>', 'endpoint of the EBS direct APIs for the copy')
    .addOption(
      new Option('--to-emulator <DIR>', 'make the copy in the embedded emulator on this folder').conflicts([
        'toRegion',
        'toProfile',
        'toEndpointUrl',
      ]),
    );
  return addApiOptions(addMakingOptions(command)).addHelpText('after', EXAMPLES).action(run);
}

const EXAMPLES = `
Every block passes through this machine. --parent names a snapshot at the destination, such as an earlier copy. A copy
that was stopped goes on when the same command is run again.

Examples:
  snapnbd copy snap-0123456789abcdef0 --region us-east-1 --to-region eu-west-1
  snapnbd copy snap-0123456789abcdef0 --to-profile other-account --encrypted
  snapnbd copy snap-0123456789abcdef0 --to-emulator ./snapshots`;

async function run(snapshotText: string, options: CopyOptions): Promise<void> {
  const app = await import('../app/transfers/copying.js');
  const snapshotId = app.checkSnapshotId(snapshotText);
  const wishes = makingWishesOf(options);
  const report = await withTransferBar(app, (context) =>
    app.copySnapshot({
      ...context,
      ...{ snapshotId, wishes },
      api: apiSettingsOf(options),
      to: destinationOf(options),
      stateDir: options.stateDir,
      putsPerSecond: options.putRate,
      parentSnapshotId: options.parent === undefined ? undefined : app.checkSnapshotId(options.parent),
    }),
  );
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
  } else {
    process.stderr.write(`${summaryOf(report)}\n`);
    process.stdout.write(`${report.snapshotId}\n`);
  }
}

/** Undefined: where the snapshot is. An endpoint belongs to a region, so another region does not keep it. */
function destinationOf(options: CopyOptions): ApiSettings | undefined {
  const { toRegion, toProfile, toEndpointUrl, toEmulator, ...from } = options;
  const { region, profile, endpointUrl, emulator, ...rest } = from;
  if (toEmulator !== undefined) return apiSettingsOf({ ...rest, emulator: toEmulator });
  if (toRegion === undefined && toProfile === undefined && toEndpointUrl === undefined) return undefined;
  const isSameRegion = toRegion === undefined && emulator === undefined;
  return apiSettingsOf({
    ...rest,
    ...defined('region', toRegion ?? region),
    ...defined('profile', toProfile ?? profile),
    ...defined('endpointUrl', toEndpointUrl ?? (isSameRegion ? endpointUrl : undefined)),
  });
}

function defined<Name extends string>(name: Name, value: string | undefined): Partial<Record<Name, string>> {
  return value === undefined ? {} : ({ [name]: value } as Record<Name, string>);
}
