import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { loadConfig } from '@smithy/core/config';
import { EnvironmentError } from '../util/errors.js';
import { systemReason } from '../util/system-reason.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** How the endpoint is reached. */
export interface NetworkSettings {
  /** Certificate authorities (PEM) that are trusted instead of those that Node.js comes with. Default: those. */
  readonly ca: string | undefined;
  /** The proxy for a host that is spoken to by https, or undefined: directly. */
  readonly proxyFor: (host: string, port: number) => URL | undefined;
}

/**
 * Reads how the endpoint is reached from where AWS users have it: AWS_CA_BUNDLE, or `ca_bundle` of the profile;
 * HTTPS_PROXY and NO_PROXY, in capitals or not.
 *
 * @throws {EnvironmentError} for a bundle that cannot be read, or a proxy that is no URL.
 */
export async function readNetworkSettings(
  profile: string | undefined,
  env: Environment,
): Promise<NetworkSettings> {
  const caFile = await loadConfig<string | undefined>(
    {
      environmentVariableSelector: ({ AWS_CA_BUNDLE }) => present(AWS_CA_BUNDLE),
      configFileSelector: ({ ca_bundle }) => ca_bundle,
      default: undefined,
    },
    configurationOf(profile),
  )();
  const proxy = proxyOf(env);
  const bypass = (env.no_proxy ?? env.NO_PROXY ?? '').split(',').map((rule) => rule.trim().toLowerCase());
  return {
    ca: caFile === undefined ? undefined : readBundle(caFile),
    proxyFor: (host, port) => (proxy === undefined || isBypassed(bypass, host, port) ? undefined : proxy),
  };
}

/**
 * The endpoint that the environment or the profile names: AWS_ENDPOINT_URL_EBS, AWS_ENDPOINT_URL, `ebs` in the
 * `services` of the profile, its `endpoint_url`. What the SDK looks up by itself is that of AWS_PROFILE.
 *
 * @param service in capitals; `EBS` in the above.
 */
export async function configuredEndpoint(
  profile: string | undefined,
  service: string,
): Promise<string | undefined> {
  const configuration = configurationOf(profile);
  const ignored = await loadConfig<string | undefined>(
    {
      environmentVariableSelector: ({ AWS_IGNORE_CONFIGURED_ENDPOINT_URLS }) =>
        present(AWS_IGNORE_CONFIGURED_ENDPOINT_URLS),
      configFileSelector: ({ ignore_configured_endpoint_urls }) => ignore_configured_endpoint_urls,
      default: undefined,
    },
    configuration,
  )();
  if (ignored?.toLowerCase() === 'true') return undefined;
  return loadConfig<string | undefined>(
    {
      environmentVariableSelector: (env) =>
        present(env[`AWS_ENDPOINT_URL_${service}`]) ?? present(env.AWS_ENDPOINT_URL),
      configFileSelector: (section, file) => {
        const services = section.services === undefined ? undefined : file?.[`services.${section.services}`];
        return services?.[`${service.toLowerCase()}.endpoint_url`] ?? section.endpoint_url;
      },
      default: undefined,
    },
    configuration,
  )();
}

function configurationOf(profile: string | undefined): { profile?: string; ignoreCache: boolean } {
  return { ignoreCache: true, ...(profile === undefined ? {} : { profile }) };
}

/** A variable that is set to nothing is not set. */
function present(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}

function readBundle(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new EnvironmentError(
      `Cannot read the certificate authorities in ${path} (AWS_CA_BUNDLE, ca_bundle): ${systemReason(error)}.`,
      { cause: error },
    );
  }
}

function proxyOf(env: Environment): URL | undefined {
  const text = present(env.https_proxy) ?? present(env.HTTPS_PROXY);
  if (text === undefined) return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    // It may hold a password, so it is not repeated.
    throw new EnvironmentError('Cannot use HTTPS_PROXY: write http://HOST:PORT, or https://HOST:PORT.');
  }
  return url;
}

/** By host, by the end of its name, by either with a port, or all of them by an asterisk. */
function isBypassed(rules: readonly string[], host: string, port: number): boolean {
  const name = host.replace(/^\[|\]$/g, '').toLowerCase();
  return rules.some((rule) => {
    if (rule === '' || rule === '*') return rule === '*';
    const [, own = rule, rulePort] = /^(.+?)(?::(\d+))?$/.exec(isIP(rule) === 6 ? `[${rule}]` : rule) ?? [];
    if (rulePort !== undefined && Number(rulePort) !== port) return false;
    const suffix = own.replace(/^\[|\]$/g, '').replace(/^\*?\./, '');
    return name === suffix || (isIP(name) === 0 && name.endsWith(`.${suffix}`));
  });
}
