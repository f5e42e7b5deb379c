import type { Lease } from '../util/lease.js';

/** A part of a read that is all zeros and was therefore not materialised. */
export interface ZeroRun {
  /** At least 1. */
  readonly zeroBytes: number;
}

/**
 * One piece of what a read returns: bytes, or a run of zeros. The reader must not modify the bytes (they may be
 * the cache's own), and the device does not modify them either once it has handed them out: before the end of the lease
 * that the read came with, or ever, if it came without one.
 */
export type ReadChunk = Uint8Array | ZeroRun;

/** The pieces of a read in order of offset; their lengths add up to exactly the length asked for. */
export type ReadResult = readonly ReadChunk[];

/** What came of {@link BlockDevice.readInto}. */
export const ReadIntoResult = {
  /** Not everything is at hand. The target is in any state, and `read` has to be called instead. */
  NotAtHand: 0,
  /** The target has the bytes. */
  Filled: 1,
  /** All of it is zeros; the target was not touched. */
  Zeros: 2,
} as const;
export type ReadIntoResult = (typeof ReadIntoResult)[keyof typeof ReadIntoResult];

/** The flags of an extent in the context `base:allocation`, as they go on the wire. */
export const AllocationFlag = {
  /** Nothing is allocated: the range costs no storage. */
  Hole: 1,
  /** The range reads as zeros. */
  Zero: 2,
} as const;

/** A run of bytes with the same flags; what the flags mean depends on the context asked about. */
export interface Extent {
  /** At least 1. */
  readonly lengthBytes: number;
  /** An unsigned 32-bit number (64 bits exist on the wire only with extended headers). */
  readonly flags: number;
}

/** What goes with any request to a device. */
export interface RequestOptions {
  /** Aborts when nobody waits for the answer any more. The device may then reject with any error. */
  readonly signal?: AbortSignal;
}

/** What goes with a read. */
export interface ReadOptions extends RequestOptions {
  /**
   * Ends when the reader looks at the bytes no more, so that the device may use their memory again. Default: nobody says
   * when, and it never does.
   */
  readonly lease?: Lease | undefined;
}

/** What goes with a request that changes the device. */
export interface WriteOptions extends RequestOptions {
  /** Force unit access: the change is durable before the promise resolves. Default: false. */
  readonly fua?: boolean;
}

/** What goes with a request to zero. */
export interface ZeroOptions extends WriteOptions {
  /** Keep the range allocated. Default: false, a hole may be made. */
  readonly noHole?: boolean;
  /** Reject with `ENOTSUP`, content untouched, unless this is faster than writing zeros. Default: false. */
  readonly fastOnly?: boolean;
}

/**
 * Memory of a device that the data of one write is received in, so that it need not be copied there. One that is never
 * committed changes nothing.
 */
export interface WriteRoom {
  /** Where the data goes, one after the other; together exactly as long as the write. Nobody else looks at them. */
  readonly pieces: readonly Buffer[];
  /**
   * Makes what is in the pieces the content of the device, as `write` does. Called once at most, when all of them are
   * full; they are the device's alone from then on.
   */
  commit(options?: WriteOptions): void | Promise<void>;
}

/** What goes with a question about extents. */
export interface ExtentOptions extends RequestOptions {
  /** The answer may hold at most this many. At least 1. */
  readonly extentsMax: number;
}

/** Answers what lies where, in one context. */
export interface ExtentSource {
  /**
   * Describes the beginning of [offset, offset + lengthBytes): at least one extent, starting at `offset`, none past
   * the end of the range. It may describe less than the whole range where the rest would cost much to find out;
   * neighbours with equal flags should be one extent.
   */
  extents(
    offset: number,
    lengthBytes: number,
    options: ExtentOptions,
  ): readonly Extent[] | Promise<readonly Extent[]>;
}

/** How many blocks of a range a device has at hand. */
export interface BlocksAtHand {
  readonly hits: number;
  /** Those that a read of the range would have to wait for. */
  readonly missing: number;
}

/** Sizes that a client is told, in bytes. Requests that do not keep to them still get correct answers. */
export interface BlockSizes {
  /** A power of two from 1 to 65,536. */
  readonly minimum: number;
  /** A power of two, at least 512. */
  readonly preferred: number;
  /** At least `preferred`. */
  readonly maximum: number;
}

/**
 * A disk: the seam between the NBD server and everything that can be served through it.
 *
 * Offsets and lengths are in bytes, safe integers, and always within the device: the server checks before it
 * calls. Any number of requests may be under way at once. A method that is absent is a command that the device
 * cannot do: without `write` the export is read-only.
 *
 * Answers that are at hand may be given at once rather than as a promise, which is faster.
 *
 * @throws {DeviceError} with the errno for the client; any other error is answered as EIO.
 */
export interface BlockDevice extends Partial<ExtentSource> {
  /** Fixed for the life of the device. */
  readonly sizeBytes: number;
  /** One line for people, sent to clients that ask. */
  readonly description?: string;
  /** What clients should align requests to. Default: minimum 1, preferred 4096, maximum 64 MiB. */
  readonly blockSizes?: BlockSizes;
  /**
   * True when a flush on one connection covers the writes that were answered on every other one, so that a client
   * may spread its requests. Default: true for a device without `write`, else false.
   */
  readonly multiConnection?: boolean;
  /** True when `zero` is always fast, so that clients may be offered FAST_ZERO. Default: false. */
  readonly fastZero?: boolean;
  /** Contexts beside `base:allocation` (which is `extents`), by full name such as `qemu:dirty-bitmap:tuesday`. */
  readonly metaContexts?: ReadonlyMap<string, ExtentSource>;

  /** Reads. Never short, never filled up: everything, or an error. */
  read(offset: number, lengthBytes: number, options?: ReadOptions): ReadResult | Promise<ReadResult>;
  /**
   * Reads into `target` from `targetStart` on, at once, if everything is at hand: the quick way for small reads.
   * Optional, and never called with a length of 0.
   */
  readInto?(offset: number, lengthBytes: number, target: Uint8Array, targetStart: number): ReadIntoResult;
  /** Writes all of `data`, of which the device keeps no reference once it has resolved. */
  write?(offset: number, data: Uint8Array, options?: WriteOptions): void | Promise<void>;
  /**
   * Room to receive a write in, for devices that keep whole pieces of it as they are. Optional; undefined: the data has
   * to come by `write`.
   */
  roomFor?(offset: number, lengthBytes: number): WriteRoom | undefined;
  /** Makes everything durable that was answered before, on whichever connection. */
  flush?(options?: RequestOptions): void | Promise<void>;
  /** Says that the content of a range is no longer wanted. */
  trim?(offset: number, lengthBytes: number, options?: WriteOptions): void | Promise<void>;
  /** Makes a range read as zeros. */
  zero?(offset: number, lengthBytes: number, options?: ZeroOptions): void | Promise<void>;
  /** Fetches a range ahead of reads to come. */
  cache?(offset: number, lengthBytes: number, options?: RequestOptions): void | Promise<void>;
  /** Says what a read would find, for a trace; it changes nothing. Optional. */
  blocksAtHand?(offset: number, lengthBytes: number): BlocksAtHand;
  /** Lets go of everything. Called once, when no request is under way. */
  close?(): void | Promise<void>;
}
