import type { EC2Client } from '@aws-sdk/client-ec2';
import { openAwsClient, type AwsClientOptions } from '../ebs/aws-client.js';
import type { CallRunner } from '../ebs/call-runner.js';
import type { CallSubject } from '../ebs/error-text.js';
import { DEFAULT_RETRY_POLICY } from '../ebs/retry-policy.js';
import { WATCHED_STEP, watchAnswers } from '../ebs/watched-answers.js';
import { systemClock } from '../util/clock.js';
import type {
  DescribeSnapshotsRequest,
  Ec2Api,
  Ec2CallOptions,
  EncryptionByDefault,
  RegionDescription,
  SnapshotsPage,
} from './ec2-api.js';
import { malformed, snapshotDescriptionOf } from './ec2-mapping.js';
import { retryEc2, type Ec2RetryContext } from './ec2-retry.js';
import { loadEc2Sdk, type Ec2Sdk } from './load-sdk.js';

/** Where to connect, as whom, and how patiently. */
export interface Ec2ClientOptions extends Omit<AwsClientOptions, 'inFlightMax'> {
  /** How long one call may be retried. Default: 20,000. */
  readonly retryTotalMs?: number | undefined;
}

/** Calls are made one after another, or for a few regions at once. */
const IN_FLIGHT_MAX = 4;

/**
 * EC2 in one region through the AWS SDK, which is loaded here.
 *
 * @throws {EnvironmentError} when the optional package is not installed, and as `openAwsClient` does.
 * @throws {EbsError} `no-region`, `no-credentials` or another reason why no call could be made.
 */
export async function createEc2Api(options: Ec2ClientOptions): Promise<Ec2Api> {
  const sdk = await loadEc2Sdk();
  const { clock = systemClock, retryTotalMs = DEFAULT_RETRY_POLICY.retryTotalMs } = options;
  const { client, calls } = await openAwsClient(
    'EC2',
    { ...options, inFlightMax: IN_FLIGHT_MAX },
    (config) => new sdk.EC2Client(config),
  );
  const region = await client.config.region();
  return new SdkEc2Api({ sdk, client, calls, region, retry: { clock, retryTotalMs } });
}

interface Ec2Parts {
  readonly sdk: Ec2Sdk;
  readonly client: EC2Client;
  readonly calls: CallRunner;
  readonly region: string;
  readonly retry: Ec2RetryContext;
}

class SdkEc2Api implements Ec2Api {
  readonly region: string;
  readonly #parts: Ec2Parts;

  constructor(parts: Ec2Parts) {
    this.region = parts.region;
    this.#parts = parts;
    const { calls } = parts;
    parts.client.middlewareStack.add(watchAnswers(calls), WATCHED_STEP);
  }

  describeSnapshots(request: DescribeSnapshotsRequest, options?: Ec2CallOptions): Promise<SnapshotsPage> {
    const { sdk, client } = this.#parts;
    const { snapshotIds, owners, filters, resultsMax, nextToken } = request;
    const command = new sdk.DescribeSnapshotsCommand({
      ...(snapshotIds === undefined ? {} : { SnapshotIds: [...snapshotIds] }),
      ...(owners === undefined ? {} : { OwnerIds: [...owners] }),
      ...(filters === undefined
        ? {}
        : { Filters: filters.map(({ name, values }) => ({ Name: name, Values: [...values] })) }),
      ...(resultsMax === undefined ? {} : { MaxResults: resultsMax }),
      ...(nextToken === undefined ? {} : { NextToken: nextToken }),
    });
    return this.#call('list snapshots', 'DescribeSnapshots', options, async (abortSignal, subject) => {
      const answer = await client.send(command, { abortSignal });
      return {
        snapshots: (answer.Snapshots ?? []).map((snapshot) => snapshotDescriptionOf(snapshot, subject())),
        nextToken: answer.NextToken === '' ? undefined : answer.NextToken,
      };
    });
  }

  getEncryptionByDefault(options?: Ec2CallOptions): Promise<EncryptionByDefault> {
    const { sdk, client } = this.#parts;
    const command = new sdk.GetEbsEncryptionByDefaultCommand({});
    const attempt = 'read whether EBS encrypts by default';
    return this.#call(attempt, 'GetEbsEncryptionByDefault', options, async (abortSignal, subject) =>
      encryptionOf(await client.send(command, { abortSignal }), subject),
    );
  }

  setEncryptionByDefault(isEnabled: boolean, options?: Ec2CallOptions): Promise<EncryptionByDefault> {
    const { sdk, client } = this.#parts;
    const [verb, operation] = isEnabled
      ? ['enable', 'EnableEbsEncryptionByDefault']
      : ['disable', 'DisableEbsEncryptionByDefault'];
    return this.#call(`${verb} encryption by default`, operation, options, async (abortSignal, subject) =>
      encryptionOf(
        isEnabled
          ? await client.send(new sdk.EnableEbsEncryptionByDefaultCommand({}), { abortSignal })
          : await client.send(new sdk.DisableEbsEncryptionByDefaultCommand({}), { abortSignal }),
        subject,
      ),
    );
  }

  getDefaultKmsKeyId(options?: Ec2CallOptions): Promise<string> {
    const { sdk, client } = this.#parts;
    const command = new sdk.GetEbsDefaultKmsKeyIdCommand({});
    const attempt = 'read the default key of EBS';
    return this.#call(attempt, 'GetEbsDefaultKmsKeyId', options, async (abortSignal, subject) => {
      const { KmsKeyId } = await client.send(command, { abortSignal });
      if (KmsKeyId === undefined) throw malformed(subject(), 'it names no key');
      return KmsKeyId;
    });
  }

  describeRegions(options?: Ec2CallOptions): Promise<readonly RegionDescription[]> {
    const { sdk, client } = this.#parts;
    const command = new sdk.DescribeRegionsCommand({});
    return this.#call('list regions', 'DescribeRegions', options, async (abortSignal) => {
      const { Regions = [] } = await client.send(command, { abortSignal });
      return Regions.flatMap(({ RegionName, Endpoint }) =>
        RegionName === undefined ? [] : [{ name: RegionName, endpoint: Endpoint ?? '' }],
      );
    });
  }

  close(): void {
    this.#parts.client.destroy();
  }

  #call<T>(
    attempt: string,
    operation: string,
    options: Ec2CallOptions | undefined,
    run: (abortSignal: AbortSignal, subject: () => CallSubject) => Promise<T>,
  ): Promise<T> {
    const { calls, retry } = this.#parts;
    const other = { attempt, permission: `ec2:${operation}`, endpointOption: '--ec2-endpoint-url' };
    const subject = calls.subject({ other });
    return retryEc2(retry, options?.signal, (timeoutMs) =>
      calls.run(subject, { ...options, timeoutMs }, (signal) => run(signal, subject)),
    );
  }
}

function encryptionOf(
  { EbsEncryptionByDefault }: { readonly EbsEncryptionByDefault?: boolean | undefined },
  subject: () => CallSubject,
): EncryptionByDefault {
  if (EbsEncryptionByDefault === undefined) throw malformed(subject(), 'it does not say');
  return { isEnabled: EbsEncryptionByDefault };
}
