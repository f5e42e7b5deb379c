import { DEFAULT_API_IN_FLIGHT_MAX, type ApiSettings, type ForkSettings } from '../settings.js';
import { examineAccount } from './account.js';
import { examineEndpoint } from './endpoint.js';
import { skip, type Finding } from './finding.js';
import { examineMachine } from './machine.js';

/** What to look at. */
export interface Examination {
  readonly api: ApiSettings;
  readonly forks: ForkSettings;
  readonly cacheDir?: string | undefined;
  readonly environment: NodeJS.ProcessEnv;
}

/** Looks at everything that snapnbd needs or can use. It changes nothing, and never fails: what is wrong is a finding. */
export async function examine(examination: Examination): Promise<readonly Finding[]> {
  const { api } = examination;
  const inFlightMax = api.inFlightMax ?? DEFAULT_API_IN_FLIGHT_MAX;
  const account = await examineAccount(api);
  return [
    ...(api.emulatorDir === undefined
      ? await examineEndpoint(account.endpointUrl, api.profile, examination.environment)
      : [skip('endpoint', 'the emulator is in this process')]),
    ...account.findings,
    // No call tells without an encrypted snapshot: a wrong key shows when a block is read, or a snapshot is started.
    skip(
      'kms key',
      'kms:Decrypt is needed on the key of each encrypted snapshot; kms:DescribeKey, kms:GenerateDataKey* and kms:CreateGrant ' +
        'too where new ones are made; only using the key shows it',
    ),
    ...(await examineMachine({ ...examination, inFlightMax })),
  ];
}
