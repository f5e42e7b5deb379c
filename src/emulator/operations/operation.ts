import type { Clock } from '../../util/clock.js';
import type { Logger } from '../../util/logger.js';
import type { AccountSettings } from '../ec2/account-settings.js';
import type { FaultRoll } from '../faults/fault-dice.js';
import type { FaultSettings } from '../faults/settings.js';
import type { HttpAnswer } from '../http/exchange.js';
import type { Route } from '../routes.js';
import type { BufferPool } from '../store/buffer-pool.js';
import type { SnapshotRegistry } from '../snapshot-registry.js';
import type { BlockTokens, PageTokens } from '../tokens.js';

/** One request, after everything that concerns HTTP alone. */
export interface ApiRequest {
  readonly route: Route;
  readonly query: URLSearchParams;
  /** The value of a header, by its name in lower case. */
  readonly header: (name: string) => string | undefined;
  /** The whole body as text. @throws {ApiError} when it is longer than `bytesMax`. */
  readText(bytesMax: number): Promise<string>;
  /** The body into `target`; returns its length, `target.length + 1` standing for anything longer. */
  readInto(target: Buffer): Promise<number>;
  /** Faults that were drawn for it. */
  readonly faults: FaultRoll;
}

/** What goes back. */
export interface ApiAnswer extends HttpAnswer {
  /** To be called when the pieces have left, or never will. */
  readonly release?: () => void;
}

/** What the operations work with. */
export interface OperationContext {
  readonly snapshots: SnapshotRegistry;
  readonly account: AccountSettings;
  readonly blockTokens: BlockTokens;
  readonly pageTokens: PageTokens;
  /** For blocks that arrive. */
  readonly putBuffers: BufferPool;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The settings in force now. */
  settings(): FaultSettings;
}

export type OperationHandler = (context: OperationContext, request: ApiRequest) => Promise<ApiAnswer>;

/** An answer of JSON. */
export function jsonAnswer(status: number, body: string, headers: Record<string, string> = {}): ApiAnswer {
  return { status, headers: { 'Content-Type': 'application/json', ...headers }, pieces: [Buffer.from(body)] };
}
