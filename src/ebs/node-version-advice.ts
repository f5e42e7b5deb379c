import type { Logger } from '../util/logger.js';

// The SDK's own switch for its warning about old versions of Node.js, which goes over seven lines.
const SDK_WARNING_SWITCH = 'AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED';
/** The major version below which the SDK warns. */
const SDK_NODE_MAJOR_MIN = 22;

let adviceGiven = false;

/**
 * Runs `construct`, in which the SDK checks the version of Node.js, and says what it would say in one line of the
 * log, once a process, and not at all where the user has set the SDK's switch. Other warnings are not touched.
 */
export function withoutNodeVersionWarning<T>(logger: Logger, construct: () => T): T {
  const before = process.env[SDK_WARNING_SWITCH];
  process.env[SDK_WARNING_SWITCH] = 'true';
  try {
    return construct();
  } finally {
    if (before === undefined) Reflect.deleteProperty(process.env, SDK_WARNING_SWITCH);
    else process.env[SDK_WARNING_SWITCH] = before;
    const major = Number.parseInt(process.versions.node, 10);
    if (before !== 'true' && major < SDK_NODE_MAJOR_MIN && !adviceGiven) {
      adviceGiven = true;
      logger.info('this version of Node.js will not get newer versions of the AWS SDK: plan to update it', {
        nodeVersion: process.versions.node,
        nodeMajorAdvised: SDK_NODE_MAJOR_MIN,
      });
    }
  }
}
