import { systemClock } from '../util/clock.js';
import { DEFAULT_CONNECT_TIMEOUT_MS, SPARE_SOCKETS, type AwsClientOptions } from './aws-client.js';
import { toEbsError } from './error-map.js';
import { HttpSnapshotApi } from './http-operations.js';
import { HttpPool } from './http-pool.js';
import { socketOpener } from './http-socket.js';
import { createSdkParts } from './sdk-client.js';
import { SdkSnapshotApi } from './sdk-operations.js';
import { SdkWire } from './sdk-wire.js';
import type { SnapshotApi } from './snapshot-api.js';

/**
 * The EBS direct APIs as {@link createSdkSnapshotApi} has them, but for blocks, which are moved over connections of its
 * own: the SDK's work for each call, 1.4 ms, would be more than a core at 1000 calls a second.
 *
 * @throws what {@link createSdkSnapshotApi} throws.
 */
export async function createHttpSnapshotApi(options: AwsClientOptions): Promise<SnapshotApi> {
  const { client, calls, network } = await createSdkParts(options);
  const sdk = new SdkSnapshotApi(client, calls);
  try {
    const wire = new SdkWire(client);
    const endpoint = await wire.endpoint();
    const open = socketOpener({
      ...endpoint,
      network,
      connectTimeoutMs: options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS,
      clock: options.clock ?? systemClock,
    });
    return new HttpSnapshotApi(sdk, calls, {
      endpoint,
      pool: new HttpPool(open, options.inFlightMax + SPARE_SOCKETS),
      sign: await wire.signer(endpoint),
      wire,
    });
  } catch (error) {
    sdk.close();
    throw toEbsError(error, calls.subject({})());
  }
}
