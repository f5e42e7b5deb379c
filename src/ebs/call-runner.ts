import type { Clock } from '../util/clock.js';
import { runCall } from './call-scope.js';
import type { CredentialRenewal } from './credential-renewal.js';
import type { CallSubject } from './error-text.js';
import { copyOfError, EbsErrorKind, isEbsError } from './errors.js';
import type { CallOptions } from './snapshot-api.js';

/** What all calls of one client share. */
export interface CallContext {
  readonly clock: Clock;
  /** From the start of a call to the last byte of its answer. */
  readonly requestTimeoutMs: number;
  readonly region: string;
  readonly profile: string | undefined;
  /** Where requests go if it was said; else it is seen from the first one. */
  readonly endpointUrl: string | undefined;
  readonly credentials: CredentialRenewal;
}

/** Runs calls under their time limit, and words what goes wrong with them. */
export class CallRunner {
  readonly #context: CallContext;
  /** Where requests go, as a URL without a path, as far as it is known. */
  endpoint: string | undefined;

  constructor(context: CallContext) {
    this.#context = context;
    this.endpoint = context.endpointUrl;
  }

  /** What a call is about. Asked when it fails, for only then is it known where the request went. */
  subject(subject: CallSubject): () => CallSubject {
    const { region, profile } = this.#context;
    return () => ({ ...subject, region, profile, endpoint: this.endpoint });
  }

  /** @throws {EbsError}; for credentials that have expired, retryable when new ones were found. */
  async run<T>(
    subject: () => CallSubject,
    options: CallOptions | undefined,
    call: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { clock, requestTimeoutMs, credentials } = this.#context;
    const timeoutMs = Math.min(requestTimeoutMs, options?.timeoutMs ?? Number.POSITIVE_INFINITY);
    try {
      return await runCall({ clock, timeoutMs, signal: options?.signal, subject }, call);
    } catch (error) {
      const expired = isEbsError(error, EbsErrorKind.ExpiredCredentials);
      throw expired && (await credentials.renew())
        ? copyOfError(error, error.message, { retryable: true })
        : error;
    }
  }
}
