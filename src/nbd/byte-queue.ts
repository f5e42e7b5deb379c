import { assert } from '../util/assert.js';

/**
 * Bytes that have arrived and were not looked at yet: the chunks of the stream as they came, never joined as a
 * whole, so that the cost of a message does not depend on how it was cut up. [nbd-rule 37]
 */
export class ByteQueue {
  #chunks: Buffer[] = [];
  /** The chunks before this index are used up. */
  #headIndex = 0;
  #head: Buffer = EMPTY;
  #headAt = 0;
  #lengthBytes = 0;

  /** Bytes in the queue. */
  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  /** Adds what has arrived. The queue keeps the chunk itself. */
  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    if (this.#lengthBytes === 0) {
      this.#head = chunk;
      this.#headAt = 0;
    } else {
      this.#chunks.push(chunk);
    }
    this.#lengthBytes += chunk.length;
  }

  /**
   * A buffer that holds the next `count` bytes in one piece from {@link headAt} on. Copies only where they
   * are spread over several chunks.
   */
  headOf(count: number): Buffer {
    assert(count <= this.#lengthBytes, 'more bytes than have arrived');
    if (this.#head.length - this.#headAt < count) {
      const joined = Buffer.allocUnsafe(count);
      this.copyTo(joined, 0, count);
      if (this.#headAt < this.#head.length) {
        // What is left of the chunk goes back in front of the others.
        this.#headIndex -= 1;
        if (this.#headIndex >= 0) this.#chunks[this.#headIndex] = this.#head.subarray(this.#headAt);
        else {
          this.#headIndex = 0;
          this.#chunks.unshift(this.#head.subarray(this.#headAt));
        }
      }
      this.#head = joined;
      this.#headAt = 0;
      this.#lengthBytes += count;
    }
    return this.#head;
  }

  /** Where the next byte is in the buffer that {@link headOf} gave. */
  get headAt(): number {
    return this.#headAt;
  }

  /** Takes the next `count` bytes in one piece, without a copy where they lie in one chunk. */
  take(count: number): Buffer {
    const head = this.headOf(count);
    const taken = head.subarray(this.#headAt, this.#headAt + count);
    this.skip(count);
    return taken;
  }

  /** Moves the next `count` bytes into `target` from `targetStart` on. */
  copyTo(target: Uint8Array, targetStart: number, count: number): void {
    assert(count <= this.#lengthBytes, 'more bytes than have arrived');
    let done = 0;
    while (done < count) {
      const partBytes = Math.min(this.#head.length - this.#headAt, count - done);
      this.#head.copy(target, targetStart + done, this.#headAt, this.#headAt + partBytes);
      done += partBytes;
      this.skip(partBytes);
    }
  }

  /** Drops the next `count` bytes. */
  skip(count: number): void {
    assert(count <= this.#lengthBytes, 'more bytes than have arrived');
    this.#lengthBytes -= count;
    let left = count;
    while (left >= this.#head.length - this.#headAt) {
      left -= this.#head.length - this.#headAt;
      if (!this.#nextHead()) return;
    }
    this.#headAt += left;
  }

  /** Copies what is left of a chunk whose memory is going to be used again. */
  keepCopyOf(chunk: Buffer): void {
    if (this.#lengthBytes === 0) return;
    const memory = chunk.buffer;
    if (this.#head.buffer === memory) {
      this.#head = Buffer.from(this.#head.subarray(this.#headAt));
      this.#headAt = 0;
    }
    for (let index = this.#headIndex; index < this.#chunks.length; index += 1) {
      const kept = this.#chunks[index];
      if (kept?.buffer === memory) this.#chunks[index] = Buffer.from(kept);
    }
  }

  /** Drops everything. */
  clear(): void {
    this.#chunks = [];
    this.#headIndex = 0;
    this.#head = EMPTY;
    this.#headAt = 0;
    this.#lengthBytes = 0;
  }

  #nextHead(): boolean {
    const next = this.#chunks[this.#headIndex];
    if (next === undefined) {
      this.clear();
      return false;
    }
    this.#chunks[this.#headIndex] = EMPTY;
    this.#headIndex += 1;
    this.#head = next;
    this.#headAt = 0;
    if (this.#headIndex === this.#chunks.length) {
      this.#chunks = [];
      this.#headIndex = 0;
    }
    return true;
  }
}

const EMPTY = Buffer.alloc(0);
