import { EBSClient } from '@aws-sdk/client-ebs';
import { openAwsClient, type AwsClientOptions, type OpenedAwsClient } from './aws-client.js';
import { SdkSnapshotApi } from './sdk-operations.js';
import type { SnapshotApi } from './snapshot-api.js';

/**
 * The EBS direct APIs through the AWS SDK: one call, one request, no retries. Region and credentials are looked
 * up before it resolves, so that a missing one is found at the start.
 *
 * @throws {EbsError} `no-region`, `no-credentials` or another reason why no call could be made.
 * @throws {EnvironmentError} for a proxy or certificate authorities that cannot be used.
 */
export async function createSdkSnapshotApi(options: AwsClientOptions): Promise<SnapshotApi> {
  const { client, calls } = await createSdkParts(options);
  return new SdkSnapshotApi(client, calls);
}

/** What {@link createSdkSnapshotApi} is made of. @throws what it throws. */
export function createSdkParts(options: AwsClientOptions): Promise<OpenedAwsClient<EBSClient>> {
  return openAwsClient('EBS', options, (config) => new EBSClient(config));
}
