import { MIB } from '../../util/units.js';
import type { RequestHeader } from '../codec/request-header.js';
import type { NbdLimits } from '../limits.js';
import { Command } from '../transmission-constants.js';

/** About what an extent takes while an answer is put together, in bytes. */
const EXTENT_BYTES = 64;

/**
 * What a CACHE is counted as at most, in bytes: what it fetches lies in the device's own cache, and what is on the way
 * there is bounded by the device, but each costs a queue of its own. So 16 of them fit in the default of
 * `bytesInFlightMax`, and one of a whole disk leaves room for reads beside it.
 */
const CACHE_BYTES_MAX = 4 * MIB;

/** The requests of one client that are with the device, and the room that is left for more. */
export class InFlight {
  readonly #limits: NbdLimits;
  readonly #contextCount: number;
  #count = 0;
  #bytes = 0;
  #onSettled: (() => void) | undefined;

  /** @param contextCount how many contexts a BLOCK_STATUS answers for. */
  constructor(limits: NbdLimits, contextCount: number) {
    this.#limits = limits;
    this.#contextCount = contextCount;
  }

  get count(): number {
    return this.#count;
  }

  /** Whether a request may start beside those in progress and the replies that the client has not read. */
  hasRoomFor(header: RequestHeader, unsentBytes: number): boolean {
    const takenBytes = this.#bytes + unsentBytes;
    return (
      this.#count < this.#limits.requestsInFlightMax &&
      unsentBytes < this.#limits.unsentBytesMax &&
      // One request is always let in, whatever the limits are.
      (takenBytes === 0 || takenBytes + this.#costOf(header) <= this.#limits.bytesInFlightMax)
    );
  }

  /** Counts a request. @returns how to stop counting it. */
  add(header: RequestHeader): () => void {
    const bytes = this.#costOf(header);
    this.#count += 1;
    this.#bytes += bytes;
    return () => {
      this.#count -= 1;
      this.#bytes -= bytes;
      if (this.#count === 0) this.#onSettled?.();
    };
  }

  /** Resolves when none is with the device any more. */
  settled(): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onSettled = resolve;
    });
  }

  /** Bytes that a request takes while it is in progress. */
  #costOf(header: RequestHeader): number {
    switch (header.type) {
      case Command.Read:
      case Command.Write:
        return Math.min(header.lengthBytes, this.#limits.payloadBytesMax);
      case Command.Cache:
        return Math.min(header.lengthBytes, CACHE_BYTES_MAX);
      case Command.BlockStatus:
        return this.#contextCount * this.#limits.extentsMax * EXTENT_BYTES;
      default:
        return 0;
    }
  }
}
