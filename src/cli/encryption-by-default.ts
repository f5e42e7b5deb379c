import { Command, Option } from 'commander';
import type { RegionEncryption } from '../app/encryption-default.js';
import { EnvironmentError } from '../util/errors.js';
import { addApiOptions, addEc2Option, apiSettingsOf, type ApiOptions } from './api-options.js';
import { formatTable } from './table.js';

interface EncryptionOptions extends ApiOptions {
  readonly enable?: true;
  readonly disable?: true;
  readonly allRegions?: true;
  readonly json?: true;
}

/** `snapnbd encryption-by-default`: the setting of EC2 that decides whether StartSnapshot encrypts. */
export function encryptionByDefaultCommand(): Command {
  const command = new Command('encryption-by-default')
    .description(
      'show whether AWS encrypts new snapshots and volumes that nobody asked to encrypt, or change it',
    )
    .option('--enable', 'encrypt them from now on')
    .addOption(new Option('--disable', 'no longer encrypt them').conflicts(['enable']))
    .option('--all-regions', 'in every region that the account can use')
    .option('--json', 'JSON rather than a table');
  return addEc2Option(addApiOptions(command)).addHelpText('after', EXAMPLES).action(run);
}

const EXAMPLES = `
Needs the package @aws-sdk/client-ec2, and ec2:GetEbsEncryptionByDefault, ec2:GetEbsDefaultKmsKeyId and, to change it,
ec2:EnableEbsEncryptionByDefault or ec2:DisableEbsEncryptionByDefault.

Examples:
  snapnbd encryption-by-default --all-regions
  snapnbd encryption-by-default --enable --region eu-west-1`;

async function run(options: EncryptionOptions): Promise<void> {
  const { createLogWriter, encryptionByDefault } = await import('../app/encryption-default.js');
  const logger = createLogWriter({ level: 'warn', write: (line) => process.stderr.write(line) });
  const regions = await encryptionByDefault({
    api: apiSettingsOf(options),
    logger,
    enables: options.enable ?? (options.disable === true ? false : undefined),
    allRegions: options.allRegions === true,
  });
  process.stdout.write(
    options.json === true ? `${JSON.stringify(regions, undefined, 2)}\n` : tableOf(regions),
  );
  const failed = regions.filter(({ error }) => error !== null);
  if (failed.length > 0) {
    throw new EnvironmentError(
      `Cannot finish: ${failed.length} of ${regions.length} regions could not be asked or changed. ${failed[0]?.error ?? ''}`,
    );
  }
}

function tableOf(regions: readonly RegionEncryption[]): string {
  const rows = regions.map(({ region, wasEnabled, isEnabled, kmsKeyId, error }) => [
    region,
    wordOf(wasEnabled),
    wordOf(isEnabled),
    error ?? kmsKeyId ?? '-',
  ]);
  return formatTable([['REGION', 'BEFORE', 'AFTER', 'DEFAULT KEY'], ...rows]);
}

function wordOf(isEnabled: boolean | null): string {
  if (isEnabled === null) return 'unknown';
  return isEnabled ? 'enabled' : 'disabled';
}
