import { EbsError, EbsErrorKind } from '../../ebs/errors.js';
import type { SnapshotApi } from '../../ebs/snapshot-api.js';
import { configuredEndpoint } from '../../ebs/network-settings.js';
import type { Ec2Api } from '../../ec2/ec2-api.js';
import { systemClock } from '../../util/clock.js';
import { messageOf } from '../../util/errors.js';
import { silentLogger } from '../../util/logger.js';
import { connectApi, type ApiConnection } from '../api-connection.js';
import type { ApiSettings } from '../settings.js';
import { fail, ok, skip, warn, type Finding } from './finding.js';

/** An id that no snapshot has: what is asked of it can neither tell nor change anything. */
const NOBODYS_SNAPSHOT = 'snap-00000000000000000';

/** A person waits. */
const RETRY_TOTAL_MS = 4000;

/** What was found about the account, and where its service is, as far as that is known. */
export interface AccountExamination {
  readonly findings: readonly Finding[];
  readonly endpointUrl: string | undefined;
}

/** Region, credentials, and the permissions, by calls for a snapshot that does not exist. */
export async function examineAccount(api: ApiSettings): Promise<AccountExamination> {
  let connection: ApiConnection;
  try {
    const settings = { ...api, retryTotalMs: Math.min(api.retryTotalMs ?? RETRY_TOTAL_MS, RETRY_TOTAL_MS) };
    connection = await connectApi(settings, { logger: silentLogger, clock: systemClock });
  } catch (error) {
    const kind = error instanceof EbsError ? error.kind : undefined;
    const check = kind === EbsErrorKind.NoRegion ? 'region' : 'credentials';
    return {
      findings: [failure(check, error)],
      endpointUrl: await endpointOf(api, regionOf(api, undefined)),
    };
  }
  try {
    const ec2 = await examineEc2(connection);
    const region = api.emulatorDir === undefined ? regionOf(api, ec2.region) : undefined;
    const place = api.emulatorDir === undefined ? (region ?? 'of the shared config files') : 'the emulator';
    const findings = [
      ok('region', place),
      ok('credentials', 'found'),
      ...(await examinePermissions(connection.api)),
      ...ec2.findings,
    ];
    return { findings, endpointUrl: await endpointOf(api, region) };
  } finally {
    await connection.close();
  }
}

function regionOf(api: ApiSettings, ofEc2: string | undefined): string | undefined {
  return api.region ?? ofEc2 ?? process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION;
}

async function endpointOf(api: ApiSettings, region: string | undefined): Promise<string | undefined> {
  if (api.emulatorDir !== undefined) return undefined;
  const configured = api.endpointUrl ?? (await configuredEndpoint(api.profile, 'EBS'));
  if (configured !== undefined || region === undefined) return configured;
  return `https://ebs.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
}

const PROBES: readonly (readonly [
  permission: string,
  isNeeded: boolean,
  call: (api: SnapshotApi) => Promise<unknown>,
])[] = [
  [
    'ebs:ListSnapshotBlocks',
    true,
    (api) => api.listSnapshotBlocks({ snapshotId: NOBODYS_SNAPSHOT, resultsMax: 100 }),
  ],
  [
    'ebs:GetSnapshotBlock',
    true,
    (api) => api.getSnapshotBlock({ snapshotId: NOBODYS_SNAPSHOT, blockIndex: 0, blockToken: 'AAAA' }),
  ],
  [
    'ebs:ListChangedBlocks',
    false,
    (api) =>
      api.listChangedBlocks({
        firstSnapshotId: NOBODYS_SNAPSHOT,
        secondSnapshotId: 'snap-00000000000000001',
        resultsMax: 100,
      }),
  ],
  [
    'ebs:CompleteSnapshot',
    false,
    (api) => api.completeSnapshot({ snapshotId: NOBODYS_SNAPSHOT, changedBlocksCount: 0 }),
  ],
];

/** Who may not do a thing is told so; who may is told that there is no such snapshot. */
async function examinePermissions(api: SnapshotApi): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [permission, isNeeded, call] of PROBES) {
    const error: unknown = await call(api)
      .then(() => undefined)
      .catch((thrown: unknown) => thrown);
    const kind = error instanceof EbsError ? error.kind : undefined;
    if (kind === EbsErrorKind.AccessDenied) {
      const text = `this identity may not call it`;
      const remedy = `allow ${permission} on arn:aws:ec2:REGION::snapshot/* in its IAM policy`;
      findings.push(isNeeded ? fail(permission, text, remedy) : warn(permission, text, remedy));
    } else if (kind !== undefined && ANSWERS.has(kind)) findings.push(ok(permission, 'allowed'));
    else if (error === undefined) findings.push(ok(permission, 'allowed'));
    else {
      findings.push(failure(permission, error));
      // What stops one stops them all.
      break;
    }
  }
  return findings;
}

/** What somebody who is let through is answered. */
const ANSWERS: ReadonlySet<EbsErrorKind> = new Set([
  EbsErrorKind.NotFound,
  EbsErrorKind.InvalidRequest,
  EbsErrorKind.InvalidBlockToken,
  EbsErrorKind.Conflict,
]);

/** Only some commands need it. */
async function examineEc2(
  connection: ApiConnection,
): Promise<{ findings: readonly Finding[]; region?: string }> {
  const check = 'ec2:DescribeSnapshots';
  const use = 'the list of serve --any, history';
  let region: string | undefined;
  try {
    const api = await connection.openEc2();
    ({ region } = api);
    try {
      await api.describeSnapshots({ owners: ['self'], resultsMax: 5 });
      return { findings: [ok(check, `allowed (${use})`), await examineEncryption(api)], region };
    } finally {
      api.close();
    }
  } catch (error) {
    const finding = warn(check, `cannot be called (${use})`, messageOf(error));
    const findings = [finding, skip(ENCRYPTION, 'EC2 has to answer first')];
    return region === undefined ? { findings } : { findings, region };
  }
}

const ENCRYPTION = 'encryption by default';

/** Which key new snapshots get, and who has to be allowed to use it. */
async function examineEncryption(api: Ec2Api): Promise<Finding> {
  try {
    const { isEnabled } = await api.getEncryptionByDefault();
    const keyId = await api.getDefaultKmsKeyId();
    if (!isEnabled) return ok(ENCRYPTION, `off; --encrypted without --kms-key takes ${keyId}`);
    return ok(ENCRYPTION, `on: new snapshots are encrypted with ${keyId}`);
  } catch (error) {
    const remedy = `allow ec2:GetEbsEncryptionByDefault and ec2:GetEbsDefaultKmsKeyId, or name the key with --kms-key: ${messageOf(error)}`;
    return warn(ENCRYPTION, 'cannot be asked for', remedy);
  }
}

/** The message of an error ends with what to do about it. */
function failure(check: string, error: unknown): Finding {
  if (!(error instanceof EbsError)) return fail(check, 'cannot be used', messageOf(error));
  const text = messageOf(error);
  const end = text.indexOf('. ');
  if (end < 0) return skip(check, text);
  return fail(check, text.slice(0, end), text.slice(end + 2));
}
