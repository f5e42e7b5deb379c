import { messageOf } from '../util/errors.js';
import type { Logger } from '../util/logger.js';
import { ExportRefusalKind, ExportRefusedError, type ExportLease, type ExportTable } from './export-table.js';

/**
 * The export that a connection holds. The one that was asked for last is kept until another is asked for, so that an
 * INFO and then a GO see the same.
 */
export class ExportHolder {
  readonly #exports: ExportTable;
  readonly #signal: AbortSignal;
  readonly #logger: Logger;
  #lease: ExportLease | undefined;
  /** The name by which the client asked for the lease. */
  #askedName: string | undefined;

  /** @param signal aborts when the connection is gone; nothing is held from then on. */
  constructor(exports: ExportTable, signal: AbortSignal, logger: Logger) {
    this.#exports = exports;
    this.#signal = signal;
    this.#logger = logger;
  }

  /** The lease that a name was answered with last, if it is still held. */
  heldFor(name: string): ExportLease | undefined {
    return this.#askedName === name ? this.#lease : undefined;
  }

  /**
   * Lets go of what is held, and looks up another export.
   *
   * @throws {ExportRefusedError} also for errors of any other kind, which are logged and not told to the client.
   */
  async acquire(name: string): Promise<ExportLease> {
    try {
      this.release(false);
      const lease = await this.#exports.acquire(name, { signal: this.#signal });
      this.#lease = lease;
      this.#askedName = name;
      if (this.#signal.aborted) this.release(false);
      return lease;
    } catch (error) {
      if (error instanceof ExportRefusedError) throw error;
      if (!this.#signal.aborted) {
        this.#logger.error('an export could not be opened', { error: messageOf(error) });
      }
      throw new ExportRefusedError(
        ExportRefusalKind.Unavailable,
        "the export could not be opened: see the server's log",
        { cause: error },
      );
    }
  }

  /** @param saidGoodbye the client has ended its use of the export, rather than vanish. */
  release(saidGoodbye: boolean): void {
    const lease = this.#lease;
    this.#lease = undefined;
    this.#askedName = undefined;
    lease?.release(saidGoodbye);
  }
}
