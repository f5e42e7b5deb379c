import { realpathSync } from 'node:fs';
import type { ApiSettings } from './settings.js';

/**
 * Names the service that the settings lead to, as far as that is known without a call: what is kept of one must never
 * be taken for another's. Where the shared config files say it, the profile stands for what they say.
 */
export function serviceIdentityOf(settings: ApiSettings, environment: NodeJS.ProcessEnv): string {
  const { emulatorDir } = settings;
  // The port of an embedded emulator is another one each time.
  if (emulatorDir !== undefined) return `emulator ${realpathSync(emulatorDir)}`;
  const { AWS_ENDPOINT_URL_EBS, AWS_ENDPOINT_URL, AWS_REGION, AWS_DEFAULT_REGION, AWS_PROFILE } = environment;
  return JSON.stringify([
    settings.endpointUrl ?? AWS_ENDPOINT_URL_EBS ?? AWS_ENDPOINT_URL ?? null,
    settings.region ?? AWS_REGION ?? AWS_DEFAULT_REGION ?? null,
    settings.profile ?? AWS_PROFILE ?? null,
  ]);
}
