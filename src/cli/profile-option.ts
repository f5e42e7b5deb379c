import type { ServeSettings } from '../app/settings.js';
import type { ApiOptions } from './api-options.js';

/** Of `--profile` where it may also say what is done with profiles of first reads. */
export const PROFILE_HELP =
  'save: record what is read first; use: bring it before it is read the next time; off: neither ' +
  '(default: use with --cache-dir, else off). Anything else: a profile in the shared AWS configuration';

const MODES = ['save', 'use', 'off'] as const;

/** What `--profile` stands for: a mode, or else a profile of AWS. */
export function splitProfile(options: ApiOptions): {
  readonly api: ApiOptions;
  readonly settings: Pick<ServeSettings, 'profile'>;
} {
  const { profile, ...others } = options;
  const mode = MODES.find((word) => word === profile);
  return mode === undefined ? { api: options, settings: {} } : { api: others, settings: { profile: mode } };
}
