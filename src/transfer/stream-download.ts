import { once, setMaxListeners } from 'node:events';
import type { Writable } from 'node:stream';
import { ZERO_BLOCK_CHECKSUM } from '../ebs/checksum.js';
import { BLOCK_BYTES } from '../ebs/constants.js';
import type { ListedBlock, ReceivedBlock } from '../ebs/snapshot-api.js';
import { systemCodeOf, EnvironmentError } from '../util/errors.js';
import { imageError } from './transfer-error.js';
import type { ListedBlocks } from './listed-blocks.js';
import { TransferStep, type OnProgress, type TransferCounts } from './transfer-progress.js';

const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

/** What writes a snapshot in the order of the disk. */
export interface StreamDownloadOptions {
  readonly source: ListedBlocks;
  readonly stream: Writable;
  /** For messages. */
  readonly name: string;
  readonly blockCount: number;
  /** Fetches at once, and blocks held in memory, at most. */
  readonly inFlightMax: number;
  readonly totalCount: () => number | undefined;
  readonly onProgress: OnProgress;
}

/**
 * Writes all of a disk to a stream, zeros included. Nothing is left of it when it fails.
 *
 * @throws {EbsError}; {EnvironmentError} when the reader has gone; the signal's reason.
 */
export async function streamDownload(
  options: StreamDownloadOptions,
  signal: AbortSignal,
): Promise<TransferCounts> {
  const { source, stream, name, blockCount, inFlightMax, totalCount, onProgress } = options;
  const counts: TransferCounts = { movedCount: 0, keptCount: 0, skippedCount: 0 };
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  // Each fetch may listen, in more than one place.
  setMaxListeners(0, either);
  const output = new OrderedOutput(stream, name, either);
  const fetching: { readonly block: ListedBlock; readonly received: Promise<ReceivedBlock> }[] = [];
  let nextBlock = 0;
  const writeFirst = async (): Promise<void> => {
    const first = fetching.shift();
    if (first === undefined) return;
    const { bytes, checksum } = await first.received;
    await output.zeros(first.block.blockIndex - nextBlock);
    await output.write(checksum === ZERO_BLOCK_CHECKSUM ? ZERO_BLOCK : bytes);
    nextBlock = first.block.blockIndex + 1;
    counts.movedCount += 1;
    const { movedCount } = counts;
    onProgress({
      step: TransferStep.Move,
      snapshotId: source.snapshotId,
      doneCount: movedCount,
      totalCount: totalCount(),
      movedCount,
    });
  };
  try {
    for await (const block of source.blocks(either)) {
      const received = source.read(block, either);
      // Met when its turn comes.
      received.catch(() => undefined);
      fetching.push({ block, received });
      if (fetching.length >= inFlightMax) await writeFirst();
    }
    while (fetching.length > 0) await writeFirst();
    await output.zeros(blockCount - nextBlock);
    await output.end();
    return counts;
  } finally {
    stop.abort(new Error('the download has ended'));
    await Promise.allSettled(fetching.map(({ received }) => received));
    output.close();
  }
}

/** Writes to a stream no faster than its reader reads. */
class OrderedOutput {
  readonly #stream: Writable;
  readonly #name: string;
  readonly #signal: AbortSignal;
  #failure: unknown;
  readonly #onError = (error: unknown): void => {
    this.#failure ??= error;
  };

  constructor(stream: Writable, name: string, signal: AbortSignal) {
    this.#stream = stream;
    this.#name = name;
    this.#signal = signal;
    stream.on('error', this.#onError);
  }

  async zeros(blockCount: number): Promise<void> {
    for (let block = 0; block < blockCount; block += 1) await this.write(ZERO_BLOCK);
  }

  async write(bytes: Buffer): Promise<void> {
    this.#signal.throwIfAborted();
    this.#throwIfFailed();
    if (this.#stream.write(bytes)) return;
    try {
      await once(this.#stream, 'drain', { signal: this.#signal });
    } catch (error) {
      this.#signal.throwIfAborted();
      this.#failure ??= error;
    }
    this.#throwIfFailed();
  }

  /** Resolves when everything was taken. */
  async end(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#stream.write(Buffer.alloc(0), (error) => {
        if (error !== null && error !== undefined) this.#failure ??= error;
        resolve();
      });
    });
    this.#throwIfFailed();
  }

  close(): void {
    this.#stream.off('error', this.#onError);
  }

  #throwIfFailed(): void {
    if (this.#failure === undefined) return;
    if (systemCodeOf(this.#failure) === 'EPIPE') {
      throw new EnvironmentError(`Cannot write to ${this.#name}: whoever read it has gone.`);
    }
    throw imageError('write to', this.#name, this.#failure);
  }
}
