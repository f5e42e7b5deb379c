import type { BlockDevice } from '../device/block-device.js';
import { SnapnbdError } from '../util/errors.js';
import type { ExportTraffic } from './traffic.js';

/** An export as LIST shows it. */
export interface ExportListing {
  readonly name: string;
  /** One line for people. */
  readonly description?: string;
}

/** An export that is in use. */
export interface ExportLease {
  /** The name that LIST shows, also when the client asked by another one, such as "" for the default. */
  readonly name: string;
  /** Borrowed until {@link release}. */
  readonly device: BlockDevice;
  /** Where the requests of its clients are counted. Default: nobody sees them. */
  readonly traffic?: ExportTraffic;
  /**
   * Gives the device back. Called once.
   *
   * @param saidGoodbye the client ended its use of the device with NBD_CMD_DISC, rather than vanish. Default: false.
   */
  release(saidGoodbye?: boolean): void;
}

/** The exports of a server, looked up by each client anew. */
export interface ExportTable {
  /**
   * What LIST shows, in that order. It does not fail.
   *
   * @param signal aborts when the client has gone or the server is closing.
   */
  list(signal: AbortSignal): readonly ExportListing[] | Promise<readonly ExportListing[]>;
  /**
   * Resolves a name; "" is the default export. It may take time, as a device is opened when it is first needed.
   *
   * @param options.signal aborts when the client has gone or the server is closing.
   * @throws {ExportRefusedError} with a reason that the client may read. Any other error is logged, and the client is
   * told no more than that the export is not available.
   */
  acquire(name: string, options: { readonly signal: AbortSignal }): Promise<ExportLease>;
}

/** Why a client does not get an export. */
export const ExportRefusalKind = {
  /** No export has this name. */
  Unknown: 'unknown',
  /** There is one, and it cannot be opened now. */
  Unavailable: 'unavailable',
  /** There is one, and this client may not have it. */
  Policy: 'policy',
  /** There is one, for clients with TLS. */
  TlsRequired: 'tlsRequired',
} as const;
export type ExportRefusalKind = (typeof ExportRefusalKind)[keyof typeof ExportRefusalKind];

/** A client does not get an export. The message goes to the client. */
export class ExportRefusedError extends SnapnbdError {
  override readonly name = 'ExportRefusedError';
  readonly kind: ExportRefusalKind;

  constructor(kind: ExportRefusalKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}
