import type { Lineage } from '../snapshot/lineage/lineage.js';
import { ProfileMode, Profiles } from '../snapshot/profile/profiles.js';
import { ProfileStore } from '../snapshot/profile/profile-store.js';
import type { Clock } from '../util/clock.js';
import type { Logger } from '../util/logger.js';
import { defaultStateDir } from '../writer/fork-folders.js';
import { serviceIdentityOf } from './service-identity.js';
import type { ApiSettings, ServeSettings } from './settings.js';

/** Where profiles are kept, and of which service. */
export interface ProfilePlace {
  /** Of the disk cache: they lie beside the blocks. Default: the state folder. */
  readonly cacheDir?: string | undefined;
  /** Default: `$XDG_STATE_HOME/snapnbd`, else `~/.local/state/snapnbd`. */
  readonly stateDir?: string | undefined;
  readonly api: ApiSettings;
}

/** The profiles of a place. */
export function profileStoreOf({ cacheDir, stateDir, api }: ProfilePlace): ProfileStore {
  const dir = cacheDir ?? stateDir ?? defaultStateDir(process.env);
  return new ProfileStore(dir, serviceIdentityOf(api, process.env));
}

/**
 * What a server does with profiles: what it is told, else it uses them where it has a disk cache.
 *
 * @returns undefined when it does nothing with them.
 */
export function createProfiles(
  { profile, disk, api = {}, forks = {} }: ServeSettings,
  {
    lineage,
    clock,
    logger,
  }: { readonly lineage: Lineage | undefined; readonly clock: Clock; readonly logger: Logger },
): Profiles | undefined {
  const mode = profile ?? (disk === undefined ? 'off' : ProfileMode.Use);
  if (mode === 'off') return undefined;
  const store = profileStoreOf({ cacheDir: disk?.dir, stateDir: forks.stateDir, api });
  return new Profiles({ store, mode, lineage, clock, logger });
}
