import { setMaxListeners } from 'node:events';
import { messageOf } from '../util/errors.js';
import { checkAuthorization } from './authorization.js';
import { ApiError, frameworkError, serviceError } from './errors.js';
import { denialText, isDenied } from './faults/denial.js';
import { FaultDice, type FaultRoll } from './faults/fault-dice.js';
import { Throttle } from './faults/throttle.js';
import { DRAIN_MAX_BYTES, type Exchange } from './http/exchange.js';
import { ClientGoneError } from './http/request-body.js';
import { handlers } from './operations/handlers.js';
import { jsonAnswer, type ApiAnswer, type OperationContext } from './operations/operation.js';
import { findRoute, Operation, type Route } from './routes.js';
import type { RequestOutcome, Stats } from './stats.js';

/** Answers requests to the six operations: who may, how fast, with which faults, and what was counted. */
export class RequestHandler {
  readonly #context: OperationContext;
  readonly #stats: Stats;
  readonly #throttle: Throttle;
  readonly #stop = new AbortController();
  #dice: FaultDice;

  constructor(context: OperationContext, stats: Stats) {
    this.#context = context;
    this.#stats = stats;
    this.#throttle = new Throttle(context.clock);
    this.#dice = new FaultDice(context.settings().seed);
    // Every request that waits listens, and takes its listener away.
    setMaxListeners(0, this.#stop.signal);
  }

  /** Ends the waiting for latency: to be called when every client is gone. */
  stop(): void {
    this.#stop.abort(new ClientGoneError('the emulator was stopped'));
  }

  /** Begins the sequence of faults anew. */
  reseed(): void {
    this.#dice = new FaultDice(this.#context.settings().seed);
  }

  /** Handles one request to its end. */
  async handle(exchange: Exchange): Promise<void> {
    const { method, path } = exchange;
    const route = findRoute(method, path);
    if (route === undefined) {
      const error = frameworkError('UnknownOperationException', `Unknown operation: ${method} ${path}`);
      await exchange.send(errorAnswer(error));
      return;
    }
    this.#stats.begin(route.operation);
    let outcome: Outcome = { status: 'aborted' };
    try {
      outcome = await this.#serve(exchange, route);
    } catch (error) {
      if (!(error instanceof ClientGoneError)) throw error;
    } finally {
      this.#stats.end(route.operation, {
        errorType: undefined,
        corrupted: false,
        bytesOut: 0,
        ...outcome,
        bytesIn: exchange.body.bytesRead,
      });
    }
  }

  async #serve(exchange: Exchange, route: Route): Promise<Outcome> {
    const context = this.#context;
    const faults = this.#dice.roll(route.operation, context.settings());
    // A put is cut while it arrives, or in its answer when the block has been stored; others only in the answer.
    if (faults.drop === 'request' && route.operation === Operation.PutSnapshotBlock) {
      await exchange.body.drain(Math.floor((faults.position * DRAIN_MAX_BYTES) / 2));
      exchange.cut();
      return { status: 'dropped' };
    }
    const refusal = this.#refuse(exchange, route, faults);
    // Before the answer is made, so that nothing is held meanwhile, however many requests wait.
    const { latencyMs } = context.settings();
    if (latencyMs > 0) await context.clock.sleep(latencyMs, this.#stop.signal);
    const answer = refusal ?? (await this.#perform(exchange, route, faults));
    try {
      const { errorType } = answer;
      if (faults.drop !== undefined) {
        const { bytesOut } = await exchange.sendAndCut(answer, faults.position);
        return { status: 'dropped', errorType, bytesOut };
      }
      const corrupted = faults.corrupt && answer.status === 200 && isGet(route);
      const { complete, bytesOut } = await exchange.send(answer);
      return { status: complete ? answer.status : 'aborted', errorType, bytesOut, corrupted };
    } finally {
      answer.release?.();
    }
  }

  /** The error that a request meets before its operation is looked at, or undefined. */
  #refuse(exchange: Exchange, route: Route, faults: FaultRoll): Answer | undefined {
    try {
      checkAuthorization((name) => exchange.header(name));
      const permission = `ebs:${route.operation}`;
      if (isDenied(permission, this.#context.settings())) {
        throw serviceError('AccessDeniedException', denialText(permission, route.snapshotId));
      }
      this.#throttle.admit(route.operation, route.snapshotId, this.#context.settings());
      if (faults.error !== undefined) throw injectedError(faults.error);
      return undefined;
    } catch (error) {
      return errorAnswer(this.#asApiError(error, route));
    }
  }

  async #perform(exchange: Exchange, route: Route, faults: FaultRoll): Promise<Answer> {
    try {
      const answer = await handlers[route.operation](this.#context, {
        route,
        query: new URLSearchParams(exchange.queryText),
        header: (name) => exchange.header(name),
        faults,
        readText: (bytesMax) => exchange.body.readText(bytesMax),
        readInto: (target) => exchange.body.readInto(target),
      });
      const blockIndex = route.blockIndex === undefined ? undefined : Number(route.blockIndex);
      this.#stats.done(route.operation, route.snapshotId, blockIndex);
      return answer;
    } catch (error) {
      if (error instanceof ClientGoneError) throw error;
      return errorAnswer(this.#asApiError(error, route));
    }
  }

  #asApiError(error: unknown, route: Route): ApiError {
    if (error instanceof ApiError) return error;
    this.#context.logger.error('Cannot answer a request', {
      operation: route.operation,
      snapshotId: route.snapshotId,
      blockIndex: route.blockIndex,
      reason: messageOf(error),
    });
    return serviceError('InternalServerException', 'An internal error has occurred.');
  }
}

type Outcome = Pick<RequestOutcome, 'status'> & Partial<RequestOutcome>;

interface Answer extends ApiAnswer {
  readonly errorType?: string;
}

function errorAnswer(error: ApiError): Answer {
  const headers = { 'x-amzn-ErrorType': error.typeHeader };
  return { ...jsonAnswer(error.status, JSON.stringify(error.body), headers), errorType: error.type };
}

function injectedError(status: 500 | 503): ApiError {
  return status === 500
    ? serviceError('InternalServerException', 'An internal error has occurred.')
    : frameworkError('ServiceUnavailableException', 'The service is temporarily unavailable.');
}

function isGet(route: Route): boolean {
  return route.operation === Operation.GetSnapshotBlock;
}
