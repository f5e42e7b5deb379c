import type { Ec2Api } from '../ec2/ec2-api.js';
import { systemClock } from '../util/clock.js';
import { messageOf, SnapnbdError } from '../util/errors.js';
import { Limiter } from '../util/limiter.js';
import type { Logger } from '../util/logger.js';
import { connectApi } from './api-connection.js';
import { openEc2 } from './ec2-connection.js';
import type { ApiSettings } from './settings.js';

export { createLogWriter } from './log-writer.js';

/** There are about thirty, and a person waits. */
const REGIONS_AT_ONCE = 4;

/** What `snapnbd encryption-by-default` found and did in one region. */
export interface RegionEncryption {
  readonly region: string;
  /** Null where it could not be read. */
  readonly wasEnabled: boolean | null;
  /** The same as before where nothing was to be changed. */
  readonly isEnabled: boolean | null;
  /** The key of what is encrypted without naming one. */
  readonly kmsKeyId: string | null;
  /** Why the region could not be asked or changed. */
  readonly error: string | null;
}

/** Where to look, and what to change. */
export interface EncryptionTask {
  readonly api: ApiSettings;
  readonly logger: Logger;
  /** Default: look only. */
  readonly enables?: boolean | undefined;
  /** Every region that the account can use, rather than the configured one. Default: false. */
  readonly allRegions?: boolean;
}

/**
 * Reads, and changes if that is asked for, whether EBS encrypts by default. A region that cannot be asked is told about in
 * its place; the others are done.
 *
 * @throws {EnvironmentError} and {EbsError} when EC2 cannot be asked at all.
 */
export async function encryptionByDefault(task: EncryptionTask): Promise<readonly RegionEncryption[]> {
  const { api: settings, logger, enables, allRegions = false } = task;
  const context = { logger, clock: systemClock };
  const connection = settings.emulatorDir === undefined ? undefined : await connectApi(settings, context);
  const open = (region?: string): Promise<Ec2Api> => {
    if (connection !== undefined) return connection.openEc2(region);
    const { profile, retryTotalMs } = settings;
    return openEc2(settings, { ...context, region: region ?? settings.region, profile, retryTotalMs });
  };
  try {
    const first = await open();
    try {
      if (!allRegions) return [await inRegion(first, enables)];
      const regions = (await first.describeRegions()).map(({ name }) => name).sort();
      const limiter = new Limiter(REGIONS_AT_ONCE);
      return await Promise.all(
        regions.map((region) =>
          limiter.run(async () => {
            const api = await open(region);
            try {
              return await inRegion(api, enables);
            } catch (error) {
              if (!(error instanceof SnapnbdError)) throw error;
              return { region, ...UNKNOWN, error: messageOf(error) };
            } finally {
              api.close();
            }
          }),
        ),
      );
    } finally {
      first.close();
    }
  } finally {
    await connection?.close();
  }
}

const UNKNOWN = { wasEnabled: null, isEnabled: null, kmsKeyId: null } as const;

async function inRegion(api: Ec2Api, enables: boolean | undefined): Promise<RegionEncryption> {
  const { region } = api;
  const { isEnabled: wasEnabled } = await api.getEncryptionByDefault();
  const isChanged = enables !== undefined && enables !== wasEnabled;
  const { isEnabled } = isChanged ? await api.setEncryptionByDefault(enables) : { isEnabled: wasEnabled };
  return { region, wasEnabled, isEnabled, kmsKeyId: await keyOf(api), error: null };
}

/** It is only told about, and asking for it takes another permission: without it there is none. */
async function keyOf(api: Ec2Api): Promise<string | null> {
  try {
    return await api.getDefaultKmsKeyId();
  } catch (error) {
    if (error instanceof SnapnbdError) return null;
    throw error;
  }
}
