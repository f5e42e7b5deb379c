import { request } from 'node:http';

// [ec2: Instance metadata] The link-local address of the service on every instance, and its token's life.
const DEFAULT_ENDPOINT = 'http://169.254.169.254';
const TOKEN_LIFE_SECONDS = 60;
/** On a machine that is not an instance nobody answers there; a person waits for this. */
const METADATA_TIMEOUT_MS = 1000;
const ANSWER_CHARACTERS_MAX = 4096;

/**
 * Asks the instance metadata service (version 2) in which region this machine runs.
 *
 * @param env `AWS_EC2_METADATA_DISABLED=true` turns it off; `AWS_EC2_METADATA_SERVICE_ENDPOINT` moves it.
 * @returns undefined when this is no instance, or the service does not say.
 */
export async function instanceRegion(
  env: Readonly<Record<string, string | undefined>>,
): Promise<string | undefined> {
  if (env.AWS_EC2_METADATA_DISABLED?.toLowerCase() === 'true') return undefined;
  const endpoint = env.AWS_EC2_METADATA_SERVICE_ENDPOINT ?? DEFAULT_ENDPOINT;
  try {
    const token = await ask('PUT', new URL('/latest/api/token', endpoint), {
      'x-aws-ec2-metadata-token-ttl-seconds': String(TOKEN_LIFE_SECONDS),
    });
    const region = await ask('GET', new URL('/latest/meta-data/placement/region', endpoint), {
      'x-aws-ec2-metadata-token': token,
    });
    return region.trim() || undefined;
  } catch {
    // Not an instance, which is the usual case; the caller then says that no region is configured.
    return undefined;
  }
}

function ask(method: string, url: URL, headers: Record<string, string>): Promise<string> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(METADATA_TIMEOUT_MS);
    const call = request(url, { method, headers, signal }, (answer) => {
      let text = '';
      answer.setEncoding('latin1');
      answer.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > ANSWER_CHARACTERS_MAX) answer.destroy(new Error('the answer is too long'));
      });
      answer.once('error', reject);
      answer.once('end', () => {
        if (answer.statusCode === 200) resolve(text);
        else reject(new Error(`status ${answer.statusCode ?? 0}`));
      });
    });
    call.once('error', reject);
    call.end();
  });
}
