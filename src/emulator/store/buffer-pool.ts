import { BLOCK_BYTES } from '../../ebs/constants.js';

/** How many free buffers are kept: more would only hold memory that a burst once needed. */
const FREE_MAX = 64;

/** A buffer of one block, lent. */
export interface LentBuffer {
  readonly bytes: Buffer;
  /** Gives it back; to be called once, when nobody reads or writes it any more. */
  readonly release: () => void;
}

/**
 * Buffers of one block, at most so many at a time; whoever comes later waits, in order. This is what bounds the
 * memory of blocks under way, however many clients there are.
 */
export class BufferPool {
  readonly #free: Buffer[] = [];
  readonly #waiting: ((buffer: LentBuffer) => void)[] = [];
  readonly #lentMax: number;
  #lentCount = 0;

  /** @param lentMax buffers that are lent at the same time. */
  constructor(lentMax: number) {
    this.#lentMax = lentMax;
  }

  get lentCount(): number {
    return this.#lentCount;
  }

  /** A buffer with unknown contents, as soon as there is one. */
  take(): Promise<LentBuffer> {
    if (this.#lentCount >= this.#lentMax) return new Promise((resolve) => this.#waiting.push(resolve));
    this.#lentCount += 1;
    return Promise.resolve(this.#lend(this.#free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES)));
  }

  #lend(bytes: Buffer): LentBuffer {
    let lent = true;
    return {
      bytes,
      release: () => {
        if (!lent) return;
        lent = false;
        this.#takeBack(bytes);
      },
    };
  }

  #takeBack(bytes: Buffer): void {
    const next = this.#waiting.shift();
    if (next !== undefined) {
      next(this.#lend(bytes));
      return;
    }
    this.#lentCount -= 1;
    if (this.#free.length < FREE_MAX) this.#free.push(bytes);
  }
}
