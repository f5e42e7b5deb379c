import { Command } from 'commander';
import type { Finding } from '../app/doctor/finding.js';
import { EnvironmentError } from '../util/errors.js';
import { addApiOptions, addEc2Option, apiSettingsOf, type ApiOptions } from './api-options.js';
import { addStateOptions, stateSettingsOf, type StateOptions } from './fork-options.js';

interface DoctorOptions extends ApiOptions, StateOptions {
  readonly cacheDir?: string;
  readonly json?: true;
}

/** `snapnbd doctor`: what of this machine and this account snapnbd can use. */
export function doctorCommand(): Command {
  const command = new Command('doctor')
    .description('check region, credentials, permissions, network, clock and tools; it changes nothing')
    .option('--cache-dir <DIR>', 'check the space for this disk cache as well')
    .option('--json', 'JSON rather than lines');
  return addStateOptions(addEc2Option(addApiOptions(command)))
    .addHelpText('after', HELP)
    .action(run);
}

const HELP = `
Each line is "ok", "warn" for what is missing for some uses, or "FAIL" for what is needed, and then says what mends it.
Exit status 1 when something that is needed failed. The calls that it makes are ListSnapshotBlocks, ListChangedBlocks,
GetSnapshotBlock and CompleteSnapshot for a snapshot that does not exist, and of EC2 DescribeSnapshots,
GetEbsEncryptionByDefault and GetEbsDefaultKmsKeyId: none can change anything.`;

const MARKS = { ok: 'ok  ', warn: 'warn', fail: 'FAIL', skip: '-   ' } as const;

async function run(options: DoctorOptions): Promise<void> {
  const { examine } = await import('../app/doctor/examine.js');
  const findings = await examine({
    api: apiSettingsOf(options),
    forks: stateSettingsOf(options),
    cacheDir: options.cacheDir,
    environment: process.env,
  });
  process.stdout.write(
    options.json === true ? `${JSON.stringify(findings, undefined, 2)}\n` : findings.map(lineOf).join(''),
  );
  const failed = findings.filter(({ status }) => status === 'fail');
  if (failed.length > 0) {
    throw new EnvironmentError(
      `Cannot do without ${failed.map(({ check }) => check).join(', ')}: see above for what mends it.`,
    );
  }
}

function lineOf({ check, status, detail, remedy }: Finding): string {
  const line = `${MARKS[status]}  ${check.padEnd(22)} ${detail}\n`;
  return remedy === null ? line : `${line}      ${''.padEnd(22)} -> ${remedy}\n`;
}
