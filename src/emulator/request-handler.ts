import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { messageOf } from '../util/errors.js';
import { checkAuthorization } from './authorization.js';
import { ApiError, frameworkError, serviceError } from './errors.js';
import { FaultDice, type FaultRoll } from './faults/fault-dice.js';
import { Throttle } from './faults/throttle.js';
import { ClientGoneError, RequestBody } from './http/request-body.js';
import { sendAndCut, sendAnswer, type Sent } from './http/send-answer.js';
import { handlers } from './operations/handlers.js';
import { jsonAnswer, type ApiAnswer, type OperationContext } from './operations/operation.js';
import { findRoute, Operation, type Route } from './routes.js';
import type { Stats } from './stats.js';

/** What a client may still send after an answer, so that it reads the answer rather than a reset. */
const DRAIN_MAX_BYTES = 1024 * 1024;

/** Answers requests to the six operations: who may, how fast, with which faults, and what was counted. */
export class RequestHandler {
  readonly #context: OperationContext;
  readonly #stats: Stats;
  readonly #throttle: Throttle;
  #dice: FaultDice;

  constructor(context: OperationContext, stats: Stats) {
    this.#context = context;
    this.#stats = stats;
    this.#throttle = new Throttle(context.clock);
    this.#dice = new FaultDice(context.settings().seed);
  }

  /** Begins the sequence of faults anew. */
  reseed(): void {
    this.#dice = new FaultDice(this.#context.settings().seed);
  }

  /** Handles one request to its end; never throws. */
  async handle(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = message.url ?? '/';
    const queryAt = url.indexOf('?');
    const path = queryAt < 0 ? url : url.slice(0, queryAt);
    const route = findRoute(message.method ?? '', path);
    const body = new RequestBody(message);
    response.setHeader('x-amzn-RequestId', randomUUID());
    if (route === undefined) {
      const error = frameworkError(
        'UnknownOperationException',
        `Unknown operation: ${message.method} ${path}`,
      );
      await this.#finish(message, response, body, errorAnswer(error));
      return;
    }
    const query = new URLSearchParams(queryAt < 0 ? '' : url.slice(queryAt + 1));
    await this.#serve(message, response, route, query, body);
  }

  async #serve(
    message: IncomingMessage,
    response: ServerResponse,
    route: Route,
    query: URLSearchParams,
    body: RequestBody,
  ): Promise<void> {
    const settings = this.#context.settings();
    const faults = this.#dice.roll(route.operation, settings);
    this.#stats.begin(route.operation);
    let outcome: Outcome = { status: 'aborted', errorType: undefined, bytesOut: 0 };
    let corrupted = false;
    try {
      const answer = await this.#answer(message, route, query, body, faults);
      if (answer === undefined) {
        outcome = { status: 'dropped', errorType: undefined, bytesOut: 0 };
        message.socket.destroy();
        return;
      }
      corrupted = isCorrupted(route, answer, faults);
      outcome = await this.#send(message, response, body, answer, faults);
    } catch (error) {
      if (!(error instanceof ClientGoneError)) throw error;
    } finally {
      this.#stats.end(route.operation, { ...outcome, corrupted, bytesIn: body.bytesRead });
    }
  }

  /** The answer, or undefined when the connection is to be cut while the request arrives. */
  async #answer(
    message: IncomingMessage,
    route: Route,
    query: URLSearchParams,
    body: RequestBody,
    faults: FaultRoll,
  ): Promise<Answer | undefined> {
    const context = this.#context;
    const header = (name: string): string | undefined => {
      const value = message.headers[name];
      return Array.isArray(value) ? value.join(',') : value;
    };
    let answer: Answer;
    try {
      checkAuthorization(header);
      this.#throttle.admit(route.operation, route.snapshotId, context.settings());
      if (faults.error !== undefined) throw injectedError(faults.error);
      if (faults.drop === 'request' && route.operation === Operation.PutSnapshotBlock) {
        await body.drain(Math.floor(faults.position * DRAIN_MAX_BYTES * 0.5));
        return undefined;
      }
      answer = await handlers[route.operation](context, {
        route,
        query,
        header,
        faults,
        readText: (bytesMax) => body.readText(bytesMax),
        readInto: (target) => body.readInto(target),
      });
      const blockIndex = route.blockIndex === undefined ? undefined : Number(route.blockIndex);
      this.#stats.done(route.operation, route.snapshotId, blockIndex);
    } catch (error) {
      if (error instanceof ClientGoneError) throw error;
      answer = errorAnswer(this.#asApiError(error, route));
    }
    const { latencyMs } = context.settings();
    if (latencyMs > 0) await context.clock.sleep(latencyMs);
    return answer;
  }

  async #send(
    message: IncomingMessage,
    response: ServerResponse,
    body: RequestBody,
    answer: Answer,
    faults: FaultRoll,
  ): Promise<Outcome> {
    const { errorType } = answer;
    try {
      if (faults.drop !== undefined) {
        const { bytesOut } = await sendAndCut(response, answer, faults.position);
        return { status: 'dropped', errorType, bytesOut };
      }
      const { complete, bytesOut } = await this.#finish(message, response, body, answer);
      return { status: complete ? answer.status : 'aborted', errorType, bytesOut };
    } finally {
      answer.release?.();
    }
  }

  /**
   * Sends the answer. What the client still sends is read and forgotten, so that it reads the answer rather than
   * meets a reset; but a client that sends much more than it may is cut off.
   */
  async #finish(
    message: IncomingMessage,
    response: ServerResponse,
    body: RequestBody,
    answer: ApiAnswer,
  ): Promise<Sent> {
    if (message.complete) return sendAnswer(response, answer);
    const endsSoon = (body.declaredBytes ?? Infinity) <= DRAIN_MAX_BYTES;
    if (!endsSoon) response.setHeader('Connection', 'close');
    const sent = sendAnswer(response, answer);
    await body.drain(DRAIN_MAX_BYTES).catch((error: unknown) => {
      if (!(error instanceof ClientGoneError)) throw error;
    });
    if (!endsSoon) message.socket.destroySoon();
    return sent;
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

interface Outcome {
  readonly status: number | 'dropped' | 'aborted';
  readonly errorType: string | undefined;
  readonly bytesOut: number;
}

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

function isCorrupted(route: Route, answer: Answer, faults: FaultRoll): boolean {
  return route.operation === Operation.GetSnapshotBlock && answer.status === 200 && faults.corrupt;
}
