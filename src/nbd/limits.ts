import { KIB, MIB } from '../util/units.js';

/** Everything in an NBD server that is bounded, so that no client can take more than its share. */
export interface NbdLimits {
  /**
   * Clients at the same time. Default: 128, well above what multi-connection clients open (kernel and nbdcopy use 4 to
   * 16 each), and well below the usual limit of 1024 descriptors.
   */
  readonly connectionsMax: number;
  /**
   * Clients above `connectionsMax` that are told so before they are hung up on, at the same time. Default: 16; beyond
   * it they are hung up on without a word, since each costs a descriptor as well.
   */
  readonly refusalsMax: number;
  /**
   * Time from connecting to the end of the handshake, in milliseconds; the time that the server takes to open an
   * export does not count. Default: 10,000, as qemu-nbd has it: an idle socket must not keep a place. [CVE-2024-7409]
   */
  readonly handshakeTimeoutMs: number;
  /** Options in one handshake, beside 8 for each export that the client was shown in it. Default: 1024. */
  readonly optionsMax: number;
  /**
   * Bytes of data in one option. Default: 64 KiB: a name and a dozen queries of the greatest length. An option beyond
   * it ends the handshake: gigabytes of it are not read. [CVE-2017-15119]
   */
  readonly optionBytesMax: number;
  /** Payload of one READ or WRITE, in bytes. Default: 64 MiB, as nbdkit has it. */
  readonly payloadBytesMax: number;
  /**
   * Payload of a WRITE that is refused, yet read and dropped so that the connection lives on, in bytes. Default:
   * 128 MiB; beyond it the client is hung up on.
   */
  readonly refusedPayloadBytesMax: number;
  /** Requests of one client in progress. Default: 256, twice the queue of a Linux nbd device. */
  readonly requestsInFlightMax: number;
  /**
   * Bytes that one client's requests in progress and its unsent replies may take. Default: 64 MiB, so that one request
   * of the greatest size always fits; the next ones wait.
   */
  readonly bytesInFlightMax: number;
  /**
   * Replies that one client has not yet read, in bytes: beyond it none of its requests are started. Default: 16 MiB,
   * more than any socket buffer, so that only a client that does not read is slowed down.
   */
  readonly unsentBytesMax: number;
  /**
   * Extents in one answer to BLOCK_STATUS, for each context. Default: 16,384: more than 4 GiB of EBS blocks, and about
   * a megabyte while it is put together. The protocol allows 2^20.
   */
  readonly extentsMax: number;
  /** Contexts that one client may select. Default: 16: each is answered for at every BLOCK_STATUS. */
  readonly contextsMax: number;
  /** Time without traffic after which TCP keep-alive looks whether the client is there, in ms. Default: 60,000. */
  readonly keepAliveMs: number;
  /**
   * Time that a client has to read the last replies once the connection is ending, in milliseconds. Default: 5000;
   * then it is cut.
   */
  readonly lingerMs: number;
}

/** The defaults of {@link NbdLimits}. */
export const DEFAULT_NBD_LIMITS: NbdLimits = {
  connectionsMax: 128,
  refusalsMax: 16,
  handshakeTimeoutMs: 10_000,
  optionsMax: 1024,
  optionBytesMax: 64 * KIB,
  payloadBytesMax: 64 * MIB,
  refusedPayloadBytesMax: 128 * MIB,
  requestsInFlightMax: 256,
  bytesInFlightMax: 64 * MIB,
  unsentBytesMax: 16 * MIB,
  extentsMax: 16_384,
  contextsMax: 16,
  keepAliveMs: 60_000,
  lingerMs: 5000,
};
