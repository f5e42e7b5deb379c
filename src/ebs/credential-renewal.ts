import type { Clock } from '../util/clock.js';
import type { Logger } from '../util/logger.js';
import { messageOf } from '../util/errors.js';

/** The part of credentials by which new ones are told from old ones. */
interface Identity {
  readonly accessKeyId: string;
  readonly sessionToken?: string;
}

/** Looks credentials up; with `forceRefresh` without regard to those that it knows. */
export type IdentityProvider = (options?: { readonly forceRefresh: boolean }) => Promise<Identity>;

/** Looking again more often would only cost time: somebody has to renew them first. */
const RENEWAL_INTERVAL_MS = 5000;

/**
 * Looks for new credentials when the service says that those in use have expired, so that a server goes on once they
 * have been renewed where they came from. Credentials with an expiry of their own are renewed before that by the SDK.
 */
export class CredentialRenewal {
  readonly #provider: IdentityProvider;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #current: Identity | undefined;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #foundNew = false;
  #underWay: Promise<boolean> | undefined;

  constructor(provider: IdentityProvider, clock: Clock, logger: Logger) {
    this.#provider = provider;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Looks for new credentials, unless that was done just now. Resolves to whether other ones were found. */
  renew(): Promise<boolean> {
    this.#underWay ??= this.#renew().finally(() => (this.#underWay = undefined));
    return this.#underWay;
  }

  async #renew(): Promise<boolean> {
    const nowMs = this.#clock.nowMs();
    // Calls that were made with the old ones may still fail for a moment.
    if (nowMs - this.#lookedMs < RENEWAL_INTERVAL_MS) return this.#foundNew;
    this.#lookedMs = nowMs;
    this.#foundNew = await this.#look();
    return this.#foundNew;
  }

  async #look(): Promise<boolean> {
    try {
      const before = this.#current ?? (await this.#provider());
      const after = await this.#provider({ forceRefresh: true });
      this.#current = after;
      const isNew = after.accessKeyId !== before.accessKeyId || after.sessionToken !== before.sessionToken;
      if (isNew) this.#logger.info('found new AWS credentials in the place of those that had expired');
      return isNew;
    } catch (error) {
      this.#logger.debug('found no new AWS credentials', { error: messageOf(error) });
      return false;
    }
  }
}
