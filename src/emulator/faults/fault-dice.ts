import type { Operation } from '../routes.js';
import { draw32 } from '../synth/mix.js';
import type { FaultSettings } from './settings.js';

/** What is to go wrong with one request. */
export interface FaultRoll {
  /** The 5xx to answer with, or undefined. */
  readonly error: 500 | 503 | undefined;
  /** A list page is to be empty. */
  readonly emptyPage: boolean;
  /** A block's bytes are to be changed. */
  readonly corrupt: boolean;
  /** The connection is to be cut: while the request's body arrives, or in the middle of the answer. */
  readonly drop: 'request' | 'answer' | undefined;
  /** Where in a body, as a share of it. */
  readonly position: number;
}

const Kind = {
  Error: 1,
  ErrorStatus: 2,
  EmptyPage: 3,
  Corrupt: 4,
  Drop: 5,
  DropSide: 6,
  Position: 7,
} as const;

const UINT32_RANGE = 2 ** 32;

/** One error in so many is a 503, which clients of the service must retry as well. */
const UNAVAILABLE_SHARE = 0.25;

/**
 * Draws the faults of each request from the seed, the operation and the request's number among those of that
 * operation: the same requests in the same order have the same faults.
 */
export class FaultDice {
  readonly #seed: number;
  readonly #counts = new Map<Operation, number>();

  constructor(seed: number) {
    this.#seed = seed;
  }

  roll(operation: Operation, settings: FaultSettings): FaultRoll {
    const number = this.#counts.get(operation) ?? 0;
    this.#counts.set(operation, number + 1);
    const share = (kind: number): number =>
      draw32(this.#seed, purposeOf(operation, kind), number) / UINT32_RANGE;
    const errors = share(Kind.Error) < settings.errorRate;
    const drops = share(Kind.Drop) < settings.dropRate;
    return {
      error: errors ? (share(Kind.ErrorStatus) < UNAVAILABLE_SHARE ? 503 : 500) : undefined,
      emptyPage: share(Kind.EmptyPage) < settings.emptyPageRate,
      corrupt: share(Kind.Corrupt) < settings.corruptRate,
      drop: drops ? (share(Kind.DropSide) < 0.5 ? 'request' : 'answer') : undefined,
      position: share(Kind.Position),
    };
  }
}

/** Keeps apart what is drawn for different operations and kinds of fault. */
function purposeOf(operation: Operation, kind: number): number {
  let hash = kind;
  for (let at = 0; at < operation.length; at++) hash = (Math.imul(hash, 31) + operation.charCodeAt(at)) | 0;
  return hash >>> 0;
}
