import { lookup } from 'node:dns/promises';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { readNetworkSettings, type NetworkSettings } from '../../ebs/network-settings.js';
import { TunnelAgent } from '../../ebs/proxy-tunnel.js';
import { messageOf, systemCodeOf } from '../../util/errors.js';
import { fail, ok, skip, warn, type Finding } from './finding.js';

/** A person waits. */
const CONNECT_TIMEOUT_MS = 5000;

/** [SigV4] The service refuses what is signed 5 minutes away from its own time. */
const SKEW_MAX_MS = 5 * 60_000;
const SKEW_WARN_MS = 60_000;

/** Name, connection, TLS, and the difference of the clocks. @param url undefined where there is none to be known. */
export async function examineEndpoint(
  url: string | undefined,
  profile: string | undefined,
  environment: NodeJS.ProcessEnv,
): Promise<Finding[]> {
  if (url === undefined || !URL.canParse(url)) return [skip('endpoint', 'not known without a region')];
  const endpoint = new URL(url);
  let network: NetworkSettings;
  try {
    network = await readNetworkSettings(profile, environment);
  } catch (error) {
    return [fail('proxy', 'cannot be used', messageOf(error))];
  }
  const port = Number(endpoint.port) || (endpoint.protocol === 'https:' ? 443 : 80);
  const host = endpoint.hostname.replace(/^\[|\]$/g, '');
  const proxy = endpoint.protocol === 'https:' ? network.proxyFor(host, port) : undefined;
  const name = proxy === undefined ? host : proxy.hostname.replace(/^\[|\]$/g, '');
  const findings: Finding[] = [];
  if (proxy !== undefined) findings.push(ok('proxy', `${proxy.host} (HTTPS_PROXY)`));
  try {
    findings.push(ok('name server', `${name} is ${(await lookup(name)).address}`));
  } catch (error) {
    const remedy = `check /etc/resolv.conf, --region and --endpoint-url: "getent hosts ${name}" must answer`;
    return [...findings, fail('name server', `${name} is not found (${messageOf(error)})`, remedy)];
  }
  try {
    const date = await dateOf(endpoint, network);
    const kind = endpoint.protocol === 'https:' ? 'TLS' : 'without TLS';
    findings.push(ok('endpoint', `${endpoint.origin} answers (${kind})`), clockFinding(date));
  } catch (error) {
    findings.push(fail('endpoint', `${endpoint.origin}: ${messageOf(error)}`, endpointRemedy(error)));
  }
  return findings;
}

function endpointRemedy(error: unknown): string {
  const code = systemCodeOf(error) ?? '';
  return /CERT|SSL|TLS|SELF_SIGNED|UNABLE/.test(code)
    ? 'trust its authority: AWS_CA_BUNDLE=FILE, or NODE_EXTRA_CA_CERTS=FILE'
    : 'open the way to it: firewall, HTTPS_PROXY, --endpoint-url';
}

/** Any answer will do: even a refusal has a date. */
function dateOf(endpoint: URL, network: NetworkSettings): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const isTls = endpoint.protocol === 'https:';
    const options = { method: 'GET', path: '/', signal: AbortSignal.timeout(CONNECT_TIMEOUT_MS) };
    const call = isTls
      ? httpsRequest(endpoint, { ...options, agent: new TunnelAgent({}, network) })
      : httpRequest(endpoint, options);
    call.once('error', reject);
    call.once('response', (answer) => {
      resolve(answer.headers.date);
      answer.destroy();
    });
    call.end();
  });
}

function clockFinding(date: string | undefined): Finding {
  const theirsMs = Date.parse(date ?? '');
  if (Number.isNaN(theirsMs)) return skip('clock', 'the endpoint does not say what time it is');
  const skewMs = Date.now() - theirsMs;
  const text = `${(Math.abs(skewMs) / 1000).toFixed(0)} s ${skewMs < 0 ? 'behind' : 'ahead of'} the service`;
  const remedy = 'timedatectl set-ntp true';
  if (Math.abs(skewMs) >= SKEW_MAX_MS) return fail('clock', text, remedy);
  return Math.abs(skewMs) >= SKEW_WARN_MS ? warn('clock', text, remedy) : ok('clock', text);
}
