import type { Writable } from 'node:stream';
import { assert } from '../../util/assert.js';
import type { Lease } from '../../util/lease.js';
import { KIB, MIB } from '../../util/units.js';
import { SLAB_BYTES, type SlabPool } from './slab-pool.js';

/**
 * Up to this length a payload is copied behind its header; above it goes out as it is. A copy of 32 KiB costs about as
 * much as handing one more piece to the system.
 */
export const COPIED_PAYLOAD_BYTES_MAX = 32 * KIB;

const ZEROS = Buffer.alloc(MIB);

/**
 * Puts replies together and sends them in batches, each reply whole before the next. While one batch is on its way the
 * next one gathers, so that a slow reader costs no more than the bytes that are waiting for it. [nbd-rule 34]
 */
export class ReplyWriter {
  readonly #stream: Writable;
  readonly #slabs: SlabPool;
  readonly #onSent: () => void;
  /** The slab that is being filled; taken when the first byte needs it. */
  #slab: Buffer | undefined;
  /** Where the next byte goes in the slab. */
  #at = 0;
  /** From where on the slab is not yet among the pieces. */
  #sealedAt = 0;
  #pieces: Uint8Array[] = [];
  #fullSlabs: Buffer[] = [];
  /** Of what is among the pieces. */
  #leases: Lease[] = [];
  #gatheredBytes = 0;
  /** Bytes, slabs and leases of the batch that is on its way. */
  #sendingBytes = 0;
  #sendingSlabs: Buffer[] = [];
  #sendingLeases: Lease[] = [];
  #isSending = false;

  /** @param onSent called after each batch, when there is more room. */
  constructor(stream: Writable, slabs: SlabPool, onSent: () => void) {
    this.#stream = stream;
    this.#slabs = slabs;
    this.#onSent = onSent;
  }

  /** Bytes that the system has not taken yet. */
  get unsentBytes(): number {
    return this.#gatheredBytes + this.#sendingBytes;
  }

  /** A buffer with room for `count` bytes in one piece from {@link at} on; {@link commit} makes them part of the stream. */
  reserve(count: number): Buffer {
    assert(count <= SLAB_BYTES, 'more bytes in one piece than a slab has');
    if (this.#slab !== undefined && SLAB_BYTES - this.#at < count) this.#retireSlab();
    this.#slab ??= this.#slabs.take();
    return this.#slab;
  }

  /** Where the next byte goes in the buffer that {@link reserve} gave. */
  get at(): number {
    return this.#at;
  }

  /** Makes the next `count` bytes of the reserved buffer part of the stream. */
  commit(count: number): void {
    this.#at += count;
    this.#gatheredBytes += count;
  }

  /** Adds bytes that stay as they are until they have gone out. */
  append(bytes: Uint8Array): void {
    if (bytes.length <= COPIED_PAYLOAD_BYTES_MAX) {
      const slab = this.reserve(bytes.length);
      slab.set(bytes, this.#at);
      this.commit(bytes.length);
      return;
    }
    this.#seal();
    this.#pieces.push(bytes);
    this.#gatheredBytes += bytes.length;
  }

  /** Ends a lease when everything has gone out that was added so far. */
  endWhenSent(lease: Lease): void {
    if (!lease.isEmpty) this.#leases.push(lease);
  }

  /** Adds `count` zeros. */
  appendZeros(count: number): void {
    for (let left = count; left > 0; left -= Math.min(left, ZEROS.length)) {
      this.append(ZEROS.subarray(0, Math.min(left, ZEROS.length)));
    }
  }

  /** Sends what has gathered, unless something is on its way: then it follows by itself. */
  flush(): void {
    if (this.#isSending || this.#gatheredBytes === 0 || this.#stream.destroyed) return;
    this.#seal();
    if (this.#slab !== undefined) this.#retireSlab();
    const pieces = this.#pieces;
    this.#sendingBytes = this.#gatheredBytes;
    this.#sendingSlabs = this.#fullSlabs;
    this.#sendingLeases = this.#leases;
    this.#pieces = [];
    this.#fullSlabs = [];
    this.#leases = [];
    this.#gatheredBytes = 0;
    this.#isSending = true;
    const last = pieces.length - 1;
    if (last === 0) {
      this.#stream.write(pieces[0], this.#onWritten);
      return;
    }
    this.#stream.cork();
    for (let index = 0; index < last; index += 1) this.#stream.write(pieces[index]);
    this.#stream.write(pieces[last], this.#onWritten);
    this.#stream.uncork();
  }

  readonly #onWritten = (error?: Error | null): void => {
    for (const slab of this.#sendingSlabs) this.#slabs.give(slab);
    // After a failure the system may still have what it was given, and nobody waits for the memory.
    if (error === null || error === undefined) for (const lease of this.#sendingLeases) lease.end();
    this.#sendingSlabs = [];
    this.#sendingLeases = [];
    this.#sendingBytes = 0;
    this.#isSending = false;
    this.flush();
    this.#onSent();
  };

  /** Makes what is in the slab so far a piece of its own, so that another piece can follow it. */
  #seal(): void {
    if (this.#slab === undefined || this.#at === this.#sealedAt) return;
    this.#pieces.push(this.#slab.subarray(this.#sealedAt, this.#at));
    this.#sealedAt = this.#at;
  }

  #retireSlab(): void {
    this.#seal();
    if (this.#slab !== undefined) this.#fullSlabs.push(this.#slab);
    this.#slab = undefined;
    this.#at = 0;
    this.#sealedAt = 0;
  }
}
