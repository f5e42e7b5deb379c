import { realpathSync } from 'node:fs';
import type { ApiSettings } from '../settings.js';

/**
 * Names the service that settings lead to, for telling transfers apart: an emulator that was started again has another port,
 * and is the same.
 */
export function serviceNameOf(settings: ApiSettings, environment: NodeJS.ProcessEnv): string {
  const { emulatorDir } = settings;
  if (emulatorDir !== undefined) return `emulator ${realPathOf(emulatorDir)}`;
  const { AWS_ENDPOINT_URL_EBS, AWS_ENDPOINT_URL, AWS_REGION, AWS_DEFAULT_REGION, AWS_PROFILE } = environment;
  const endpoint = settings.endpointUrl ?? AWS_ENDPOINT_URL_EBS ?? AWS_ENDPOINT_URL;
  return JSON.stringify([
    endpoint !== undefined && URL.canParse(endpoint) ? new URL(endpoint).hostname : null,
    settings.region ?? AWS_REGION ?? AWS_DEFAULT_REGION ?? null,
    settings.profile ?? AWS_PROFILE ?? null,
  ]);
}

/** One that is about to be made has no real path yet. */
function realPathOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    // Whoever opens it says what is wrong with it.
    return path;
  }
}
