import { systemCodeOf } from '../util/errors.js';
import { formatBytes } from '../util/units.js';
import { BLOCK_BYTES } from './constants.js';
import { errorText, type CallSubject } from './error-text.js';
import { EbsError, EbsErrorKind, EbsOperation } from './errors.js';
import type { SnapshotApi } from './snapshot-api.js';

/** US dollars for 1000 calls. */
export interface ApiPrices {
  /** ListSnapshotBlocks and ListChangedBlocks. */
  readonly list: number;
  readonly get: number;
  readonly put: number;
}

/** [ebs: Quotas and prices] As published, of most regions. StartSnapshot and CompleteSnapshot cost nothing. */
export const PUBLISHED_PRICES: ApiPrices = { list: 0.0006, get: 0.003, put: 0.006 };

const PRICE_OF: Readonly<Record<EbsOperation, keyof ApiPrices | undefined>> = {
  [EbsOperation.ListSnapshotBlocks]: 'list',
  [EbsOperation.ListChangedBlocks]: 'list',
  [EbsOperation.GetSnapshotBlock]: 'get',
  [EbsOperation.PutSnapshotBlock]: 'put',
  [EbsOperation.StartSnapshot]: undefined,
  [EbsOperation.CompleteSnapshot]: undefined,
};

/** What was used since the start. */
export interface ApiUsage {
  /** Calls that were answered, with whatever: each try counts, and so does one that was refused. */
  readonly calls: Readonly<Record<EbsOperation, number>>;
  /** Bytes of blocks that arrived, and that were taken. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly usd: number;
}

export interface CostOptions {
  /** Default: {@link PUBLISHED_PRICES}. */
  readonly prices?: Partial<ApiPrices> | undefined;
  /** Calls that would make it cost more are refused. Default: none are. */
  readonly maxUsd?: number | undefined;
  /** Called once, when the first call is refused for its cost. */
  readonly onRefusal?: (maxUsd: number) => void;
}

/** Counts what calls cost, and refuses those that would cost too much. */
export class CostMeter {
  readonly #prices: ApiPrices;
  readonly #maxUsd: number;
  readonly #onRefusal: (maxUsd: number) => void;
  readonly #calls = Object.fromEntries(Object.values(EbsOperation).map((name) => [name, 0])) as Record<
    EbsOperation,
    number
  >;
  #bytesRead = 0;
  #bytesWritten = 0;
  #usd = 0;
  /** Of calls under way. */
  #pendingUsd = 0;
  #hasRefused = false;

  constructor({ prices, maxUsd = Number.POSITIVE_INFINITY, onRefusal = () => undefined }: CostOptions = {}) {
    this.#prices = { ...PUBLISHED_PRICES, ...prices };
    this.#maxUsd = maxUsd;
    this.#onRefusal = onRefusal;
  }

  /** US dollars that calls may cost; undefined: any number of them. */
  get maxUsd(): number | undefined {
    return this.#maxUsd === Number.POSITIVE_INFINITY ? undefined : this.#maxUsd;
  }

  /** Whether a call was refused for its cost. */
  get hasRefused(): boolean {
    return this.#hasRefused;
  }

  get usage(): ApiUsage {
    return {
      calls: { ...this.#calls },
      bytesRead: this.#bytesRead,
      bytesWritten: this.#bytesWritten,
      usd: this.#usd,
    };
  }

  /**
   * Runs one try of a call, and counts it if it reached the service.
   *
   * @throws {EbsError} `cost-limit` when it would cost too much; what the call throws.
   */
  async run<T>(
    subject: CallSubject & { readonly operation: EbsOperation },
    call: () => Promise<T>,
  ): Promise<T> {
    const { operation } = subject;
    const price = PRICE_OF[operation];
    const usd = price === undefined ? 0 : this.#prices[price] / 1000;
    // Sums of such small numbers are off by less than this.
    if (this.#usd + this.#pendingUsd + usd > this.#maxUsd * (1 + 1e-9) && usd > 0)
      throw this.#refusal(subject);
    this.#pendingUsd += usd;
    let isAnswered = true;
    try {
      const answer = await call();
      if (operation === EbsOperation.GetSnapshotBlock) this.#bytesRead += BLOCK_BYTES;
      if (operation === EbsOperation.PutSnapshotBlock) this.#bytesWritten += BLOCK_BYTES;
      return answer;
    } catch (error) {
      // A call that was cut may have been carried out, and billed, all the same.
      isAnswered = !(error instanceof EbsError && isUnsent(error));
      throw error;
    } finally {
      this.#pendingUsd -= usd;
      if (isAnswered) {
        this.#calls[operation] += 1;
        this.#usd += usd;
      }
    }
  }

  #refusal(subject: CallSubject): EbsError {
    if (!this.#hasRefused) {
      this.#hasRefused = true;
      this.#onRefusal(this.#maxUsd);
    }
    const kind = EbsErrorKind.CostLimit;
    const reason = `it would cost more than the $${this.#maxUsd} that calls may cost`;
    return new EbsError(errorText(kind, subject, reason), { kind, operation: subject.operation });
  }
}

/** What fails before anything is sent. */
const UNSENT_KINDS: ReadonlySet<EbsErrorKind> = new Set([
  EbsErrorKind.Dns,
  EbsErrorKind.Tls,
  EbsErrorKind.NoCredentials,
  EbsErrorKind.NoRegion,
  EbsErrorKind.CostLimit,
]);

function isUnsent({ kind, cause }: EbsError): boolean {
  return UNSENT_KINDS.has(kind) || systemCodeOf(cause) === 'ECONNREFUSED';
}

/** Counts every try at the service, so it goes next to the client. */
export function withCost(api: SnapshotApi, meter: CostMeter): SnapshotApi {
  return {
    listSnapshotBlocks: (request, options) =>
      meter.run({ operation: EbsOperation.ListSnapshotBlocks, snapshotId: request.snapshotId }, () =>
        api.listSnapshotBlocks(request, options),
      ),
    listChangedBlocks: (request, options) => {
      const { firstSnapshotId: otherSnapshotId, secondSnapshotId: snapshotId } = request;
      return meter.run({ operation: EbsOperation.ListChangedBlocks, snapshotId, otherSnapshotId }, () =>
        api.listChangedBlocks(request, options),
      );
    },
    getSnapshotBlock: (request, options) => {
      const { snapshotId, blockIndex } = request;
      return meter.run({ operation: EbsOperation.GetSnapshotBlock, snapshotId, blockIndex }, () =>
        api.getSnapshotBlock(request, options),
      );
    },
    startSnapshot: (request, options) =>
      meter.run({ operation: EbsOperation.StartSnapshot }, () => api.startSnapshot(request, options)),
    putSnapshotBlock: (request, options) => {
      const { snapshotId, blockIndex } = request;
      return meter.run({ operation: EbsOperation.PutSnapshotBlock, snapshotId, blockIndex }, () =>
        api.putSnapshotBlock(request, options),
      );
    },
    completeSnapshot: (request, options) =>
      meter.run({ operation: EbsOperation.CompleteSnapshot, snapshotId: request.snapshotId }, () =>
        api.completeSnapshot(request, options),
      ),
    close: () => api.close(),
  };
}

/** The usage as fields of a log line, without what is nothing. */
export function usageFields({
  calls,
  bytesRead,
  bytesWritten,
  usd,
}: ApiUsage): Record<string, string | number> {
  const fields: Record<string, string | number> = {};
  for (const [operation, count] of Object.entries(calls)) if (count > 0) fields[operation] = count;
  if (bytesRead > 0) fields.read = formatBytes(bytesRead);
  if (bytesWritten > 0) fields.written = formatBytes(bytesWritten);
  fields.usd = formatUsd(usd);
  return fields;
}

/** Dollars for people: whole calls cost parts of a cent. */
export function formatUsd(usd: number): string {
  return `$${usd.toFixed(usd < 1 ? 6 : 2)}`;
}
