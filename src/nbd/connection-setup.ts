import type { Duplex } from 'node:stream';
import type { Clock } from '../util/clock.js';
import type { Logger } from '../util/logger.js';
import type { ScratchPool } from './byte-source.js';
import type { ExportTable } from './export-table.js';
import type { NbdLimits } from './limits.js';
import type { Refusal, TlsMode } from './negotiation/session.js';
import type { PayloadPool } from './transmission/payload-pool.js';
import type { SlabPool } from './transmission/slab-pool.js';

/** What a connection needs. */
export interface ConnectionSetup {
  readonly stream: Duplex;
  readonly exports: ExportTable;
  readonly limits: NbdLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Gets a line for each request. Default: none are written. */
  readonly trace?: Logger | undefined;
  readonly scratches: ScratchPool;
  readonly slabs: SlabPool;
  readonly payloads: PayloadPool;
  readonly tlsMode: TlsMode;
  /** Encrypts the stream; needed unless the mode is `off`. */
  readonly upgrade?: (stream: Duplex) => Promise<EncryptedStream>;
  /** When set, the client is told this and nothing else. */
  readonly refusal?: Refusal;
}

/** A stream that has been encrypted. */
export interface EncryptedStream {
  readonly stream: Duplex;
  /** When set, the client is told this and nothing else. */
  readonly refusal?: Refusal | undefined;
}
