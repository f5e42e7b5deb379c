import { BLOCK_BYTES } from '../../ebs/constants.js';
import { assert } from '../../util/assert.js';
import { EnvironmentError } from '../../util/errors.js';
import { systemReason } from '../../util/system-reason.js';
import { SynthBlocks } from '../synth/synth-blocks.js';
import type { BufferPool } from './buffer-pool.js';
import type { Catalog } from './catalog.js';
import { readFully } from './file-io.js';
import { PAGE_BLOCKS, ZERO_SLOT } from './index-format.js';
import type { StoreLayout } from './layout.js';
import type { OpenFiles } from './open-files.js';
import { findRow, type IndexPage, type SnapshotView } from './snapshot-view.js';

const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

/** The contents of a block. */
export interface BlockContents {
  /** 524,288 bytes in one or more pieces, not to be changed. */
  readonly pieces: readonly Buffer[];
  /** SHA-256 of them. */
  readonly digest: Buffer;
  /** To be called once nobody reads the pieces any more. */
  readonly release: () => void;
}

/** Reads blocks of complete snapshots: one block is one read from one file, wherever in the lineage it is. */
export class BlockReader {
  readonly #layout: StoreLayout;
  readonly #catalog: Catalog;
  readonly #files: OpenFiles;
  readonly #buffers: BufferPool;
  readonly #synth = new SynthBlocks();

  constructor(layout: StoreLayout, catalog: Catalog, files: OpenFiles, buffers: BufferPool) {
    this.#layout = layout;
    this.#catalog = catalog;
    this.#files = files;
    this.#buffers = buffers;
  }

  /**
   * The contents of a block, or undefined when it is not listed.
   *
   * @throws {EnvironmentError} when the files cannot be read.
   */
  async read(view: SnapshotView, blockIndex: number): Promise<BlockContents | undefined> {
    const page = await view.page(Math.floor(blockIndex / PAGE_BLOCKS));
    const row = page === undefined ? undefined : findRow(page, blockIndex);
    if (page === undefined || row === undefined) return undefined;
    return this.#readRow(page, row);
  }

  /** The SHA-256 of a listed block; reads the block only where it is computed. */
  async digest(page: IndexPage, row: number): Promise<Buffer> {
    const synth = await this.#synthOf(page.ownerAt(row));
    if (synth === undefined) return this.#storedDigest(page, row);
    return this.#synth.block(synth.seed, page.blockIndexAt(row)).digest;
  }

  async #readRow(page: IndexPage, row: number): Promise<BlockContents> {
    const ownerId = page.ownerAt(row);
    const slot = page.slotAt(row);
    const synth = await this.#synthOf(ownerId);
    if (synth !== undefined) {
      const { body, tail, digest } = this.#synth.block(synth.seed, slot);
      return { pieces: [body, tail], digest, release: () => undefined };
    }
    const digest = this.#storedDigest(page, row);
    if (slot === ZERO_SLOT) return { pieces: [ZERO_BLOCK], digest, release: () => undefined };
    return this.#readSlot(ownerId, slot, digest);
  }

  async #readSlot(ownerId: string, slot: number, digest: Buffer): Promise<BlockContents> {
    const path = this.#layout.blocksFile(ownerId);
    const buffer = await this.#buffers.take();
    try {
      await this.#files.use(path, (fd) => readFully(fd, buffer.bytes, slot * BLOCK_BYTES));
    } catch (error) {
      buffer.release();
      throw new EnvironmentError(`Cannot read ${path}: ${systemReason(error)}.`, { cause: error });
    }
    return { pieces: [buffer.bytes], digest, release: buffer.release };
  }

  async #synthOf(ownerId: string): Promise<{ readonly seed: number } | undefined> {
    const metadata = this.#catalog.settled(ownerId) ?? (await this.#catalog.find(ownerId));
    return metadata?.synth ?? undefined;
  }

  #storedDigest(page: IndexPage, row: number): Buffer {
    const digest = page.digestAt(row);
    assert(digest !== undefined, 'a stored block without a digest');
    return digest;
  }
}
