import type {
  BlockDevice,
  ReadResult,
  RequestOptions,
  WriteOptions,
  ZeroOptions,
} from '../../device/block-device.js';
import { ReadIntoResult } from '../../device/block-device.js';
import { assert } from '../../util/assert.js';
import { messageOf } from '../../util/errors.js';
import { Lease } from '../../util/lease.js';
import { isPromiseLike } from '../../util/promise-like.js';
import type { BlockStatusChunk } from '../codec/block-status-chunk.js';
import type { RequestHeader } from '../codec/request-header.js';
import { Command, CommandFlag, WireError } from '../transmission-constants.js';
import { failureOf } from './error-map.js';
import type { FailureLog } from './failure-log.js';
import type { ReplyForm } from './reply-form.js';
import { COPIED_PAYLOAD_BYTES_MAX, type ReplyWriter } from './reply-writer.js';
import type { WriteData } from './request-reader.js';
import type { StatusContext } from './status-contexts.js';
import { queryStatus } from './status-query.js';

/** What an executor works with. */
export interface ExecutorSetup {
  readonly device: BlockDevice;
  readonly form: ReplyForm;
  readonly writer: ReplyWriter;
  /** Extents in one answer, for each context. */
  readonly extentsMax: number;
  /** Aborts when the connection is gone. */
  readonly signal: AbortSignal;
  /** Aborts when nobody is going to read what a CACHE fetches: no later than `signal`. */
  readonly prefetchSignal: () => AbortSignal;
  readonly failures: FailureLog;
  /** Told of each failure, with its reason for people. */
  readonly onFailure: (request: RequestHeader, reason: string) => void;
}

/** Carries out requests that were found valid, and answers them. */
export class Executor {
  readonly #setup: ExecutorSetup;
  readonly #device: BlockDevice;
  readonly #form: ReplyForm;
  readonly #writer: ReplyWriter;
  readonly #signal: AbortSignal;
  // One object for all requests of the connection each, since tens of thousands are made each second.
  readonly #options: RequestOptions;
  readonly #durableOptions: WriteOptions;

  constructor(setup: ExecutorSetup) {
    this.#setup = setup;
    this.#device = setup.device;
    this.#form = setup.form;
    this.#writer = setup.writer;
    this.#signal = setup.signal;
    this.#options = { signal: setup.signal };
    this.#durableOptions = { signal: setup.signal, fua: true };
  }

  /**
   * Carries out a request.
   *
   * @param request filled again by the next one: what has to wait takes a copy.
   * @param data of a WRITE.
   * @param contexts that a BLOCK_STATUS answers for, at least one then.
   * @returns the error that it was answered with, or none; a promise of that, which never rejects, where it has to wait.
   */
  execute(
    request: RequestHeader,
    data: WriteData,
    contexts: readonly StatusContext[],
  ): Promise<WireError> | WireError {
    try {
      // [nbd: NBD_CMD_READ and others] A length of 0 is nothing to do, and no reason to hang up. [nbd-rule 40]
      if (request.lengthBytes === 0 && request.type !== Command.Flush) {
        this.#answerEmpty(request);
        return WireError.None;
      }
      if (request.type === Command.Read) return this.#read(request);
      if (request.type === Command.BlockStatus) return this.#status(request, contexts);
      return this.#change(request, data);
    } catch (error) {
      return this.#fail(request, error);
    }
  }

  #status(request: RequestHeader, contexts: readonly StatusContext[]): Promise<WireError> | WireError {
    const answer = queryStatus(contexts, request, this.#setup.extentsMax, this.#signal);
    if (isPromiseLike(answer)) return this.#finish({ ...request }, answer, this.#replyStatus);
    this.#replyStatus(request, answer);
    return WireError.None;
  }

  #answerEmpty(request: RequestHeader): void {
    if (request.type === Command.Read) this.#form.data(this.#writer, request, []);
    else this.#form.success(this.#writer, request);
  }

  #read(request: RequestHeader): Promise<WireError> | WireError {
    const { offset, lengthBytes } = request;
    if (lengthBytes <= COPIED_PAYLOAD_BYTES_MAX && this.#readAtOnce(request)) return WireError.None;
    // The device may use the memory again as soon as the reply has gone out.
    const lease = new Lease();
    const result = this.#device.read(offset, lengthBytes, { signal: this.#signal, lease });
    const reply = (asked: RequestHeader, data: ReadResult): void => this.#replyData(asked, data, lease);
    if (isPromiseLike(result)) return this.#finish({ ...request }, result, reply);
    reply(request, result);
    return WireError.None;
  }

  /** The quick way: header and data side by side, nothing allocated. */
  #readAtOnce(request: RequestHeader): boolean {
    const device = this.#device;
    if (device.readInto === undefined) return false;
    const { lengthBytes } = request;
    const { dataHeaderBytes } = this.#form;
    const bytes = this.#writer.reserve(dataHeaderBytes + lengthBytes);
    const at = this.#writer.at;
    const outcome = device.readInto(request.offset, lengthBytes, bytes, at + dataHeaderBytes);
    if (outcome === ReadIntoResult.NotAtHand) return false;
    if (outcome === ReadIntoResult.Zeros) {
      this.#form.data(this.#writer, request, [{ zeroBytes: lengthBytes }]);
      return true;
    }
    this.#form.encodeDataHeader(bytes, at, request);
    this.#writer.commit(dataHeaderBytes + lengthBytes);
    return true;
  }

  #change(request: RequestHeader, data: WriteData): Promise<WireError> | WireError {
    const result = this.#call(request, data);
    if (isPromiseLike(result)) return this.#finish({ ...request }, result, this.#replySuccess);
    this.#form.success(this.#writer, request);
    return WireError.None;
  }

  /** Calls the method of the device for a command that returns no data. */
  #call(request: RequestHeader, data: WriteData): void | Promise<void> {
    const device = this.#device;
    const { offset, lengthBytes } = request;
    // [nbd: NBD_CMD_FLAG_FUA] Durable before the reply; meaningless, and accepted, on the others. [nbd-rule 26, 31]
    const options = (request.flags & CommandFlag.Fua) === 0 ? this.#options : this.#durableOptions;
    switch (request.type) {
      case Command.Write:
        // All of it in one call, so that a device can keep a write within a block whole. [nbd-rule 39]
        assert(device.write !== undefined, 'WRITE was not offered');
        return 'commit' in data ? data.commit(options) : device.write(offset, data, options);
      case Command.Flush:
        return device.flush?.(options);
      case Command.Trim:
        assert(device.trim !== undefined, 'TRIM was not offered');
        return device.trim(offset, lengthBytes, options);
      case Command.WriteZeroes:
        // The whole range as it came, whatever its length: no buffer is made for it. [nbd-rule 29]
        assert(device.zero !== undefined, 'WRITE_ZEROES was not offered');
        return device.zero(offset, lengthBytes, zeroOptions(request, options));
      case Command.Cache:
        return this.#prefetch(offset, lengthBytes);
      default:
        assert(false, `a request of type ${request.type} was let through`);
    }
  }

  /** [nbd: NBD_CMD_CACHE] A server may do nothing for it, and that is a success: so is one that is given up. */
  #prefetch(offset: number, lengthBytes: number): void | Promise<void> {
    const signal = this.#setup.prefetchSignal();
    if (signal.aborted) return;
    assert(this.#device.cache !== undefined, 'CACHE was not offered');
    return this.#device.cache(offset, lengthBytes, { signal })?.then(undefined, (error: unknown) => {
      if (!signal.aborted) throw error;
    });
  }

  async #finish<T>(
    request: RequestHeader,
    result: PromiseLike<T>,
    reply: (request: RequestHeader, value: T) => void,
  ): Promise<WireError> {
    try {
      const value = await result;
      if (this.#signal.aborted) return WireError.ESHUTDOWN;
      reply(request, value);
      return WireError.None;
    } catch (error) {
      // Nobody waits any more, and giving up is what the device was asked to do.
      return this.#signal.aborted ? WireError.ESHUTDOWN : this.#fail(request, error);
    }
  }

  #replyData(request: RequestHeader, result: ReadResult, lease: Lease): void {
    const lengthBytes = lengthOf(result);
    // Never a short reply: a device that breaks its contract is a defect, and its answer is not passed on.
    assert(
      lengthBytes === request.lengthBytes,
      `the device returned ${lengthBytes} bytes for a read of ${request.lengthBytes}`,
    );
    this.#form.data(this.#writer, request, result);
    this.#writer.endWhenSent(lease);
  }

  readonly #replyStatus = (request: RequestHeader, chunks: readonly BlockStatusChunk[]): void => {
    this.#form.blockStatus(this.#writer, request, chunks);
  };

  readonly #replySuccess = (request: RequestHeader): void => {
    this.#form.success(this.#writer, request);
  };

  /** Logs the real error, then sends the poorer one. */
  #fail(request: RequestHeader, thrown: unknown): WireError {
    const failure = failureOf(thrown, request);
    if (failure.error !== WireError.ENOTSUP) this.#setup.onFailure(request, messageOf(thrown));
    this.#setup.failures.write(request, thrown, failure.error);
    this.#form.failure(this.#writer, request, failure);
    return failure.error;
  }
}

function zeroOptions(request: RequestHeader, options: WriteOptions): ZeroOptions {
  const noHole = (request.flags & CommandFlag.NoHole) !== 0;
  const fastOnly = (request.flags & CommandFlag.FastZero) !== 0;
  return noHole || fastOnly ? { ...options, noHole, fastOnly } : options;
}

function lengthOf(result: ReadResult): number {
  let lengthBytes = 0;
  for (const chunk of result) lengthBytes += 'zeroBytes' in chunk ? chunk.zeroBytes : chunk.length;
  return lengthBytes;
}
