import type * as sdk from '@aws-sdk/client-ec2';
import { EnvironmentError, messageOf, systemCodeOf } from '../util/errors.js';

/** The package, as far as it is used here. */
export type Ec2Sdk = typeof sdk;

const PACKAGE = '@aws-sdk/client-ec2';

/**
 * Loads the SDK's part for EC2: an optional dependency, and large.
 *
 * @param load default: the import itself.
 * @throws {EnvironmentError} in one line with the command that installs it.
 */
export async function loadEc2Sdk(
  load: () => Promise<Ec2Sdk> = () => import('@aws-sdk/client-ec2'),
): Promise<Ec2Sdk> {
  try {
    return await load();
  } catch (error) {
    const isMissing = systemCodeOf(error) === 'ERR_MODULE_NOT_FOUND' && messageOf(error).includes(PACKAGE);
    if (!isMissing) throw error;
    throw new EnvironmentError(
      `Cannot ask EC2: the optional package ${PACKAGE} is not installed. Install it where snapnbd is: ` +
        `"npm install --global ${PACKAGE}", or without --global for a copy in a project.`,
      { cause: error },
    );
  }
}
