import type { BlockDevice } from '../../device/block-device.js';
import type { Clock } from '../../util/clock.js';
import type { Logger } from '../../util/logger.js';
import type { RequestHeader } from '../codec/request-header.js';
import { ExportTraffic, type CommandTraffic } from '../traffic.js';
import { Command, commandName, WireError } from '../transmission-constants.js';

/** What an account is kept with. */
export interface RequestAccountSetup {
  readonly device: BlockDevice;
  readonly clock: Clock;
  /** Where requests of all clients of the export are counted. Default: nobody sees it. */
  readonly traffic?: ExportTraffic | undefined;
  /** Gets a line for each request. Default: none are written. */
  readonly trace?: Logger | undefined;
}

/** What is written down of a request while it is under way, for its line in the trace. */
interface TracedRequest {
  readonly startMs: number;
  readonly hits?: number;
  readonly fetched?: number;
}

/**
 * Counts the requests of one connection. A request that is answered at once costs some additions; the time is taken of
 * those alone that wait, and of writes, which go to a disk.
 */
export class RequestAccount {
  readonly #device: BlockDevice;
  readonly #clock: Clock;
  readonly #traffic: ExportTraffic;
  readonly #trace: Logger | undefined;
  #startMs = 0;
  #traced: TracedRequest | undefined;
  #readBytes = 0;
  #writtenBytes = 0;

  constructor({ device, clock, traffic = new ExportTraffic(), trace }: RequestAccountSetup) {
    this.#device = device;
    this.#clock = clock;
    this.#traffic = traffic;
    this.#trace = trace;
  }

  /** Bytes that the client was given. */
  get readBytes(): number {
    return this.#readBytes;
  }

  /** Bytes that the client has written, zeros and trims apart. */
  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /** The device is about to be asked. */
  begin(request: RequestHeader): void {
    if (this.#trace !== undefined) this.#traced = this.#traceOf(request);
    else if (request.type === Command.Write) this.#startMs = this.#clock.nowMs();
  }

  /** The request that was begun last has been answered. */
  answered(request: RequestHeader, error: WireError): void {
    const { latency } = this.#count(request, error);
    if (this.#traced !== undefined) {
      latency.add(this.#clock.nowMs() - this.#traced.startMs);
      this.#write(request, error, this.#traced);
    } else if (request.type === Command.Write) latency.add(this.#clock.nowMs() - this.#startMs);
    else latency.addInstant();
  }

  /** The request that was begun last waits for the device. @returns what to call when it is answered, or given up. */
  waits(header: RequestHeader): (error: WireError) => void {
    const traced = this.#traced;
    const request = { ...header, startMs: traced?.startMs ?? this.#clock.nowMs() };
    const { waiting } = this.#traffic;
    waiting.add(request);
    return (error) => {
      waiting.delete(request);
      this.#count(request, error).latency.add(this.#clock.nowMs() - request.startMs);
      if (traced !== undefined) this.#write(request, error, traced);
    };
  }

  /** A request was found invalid. */
  refused(request: RequestHeader, error: WireError): void {
    this.#count(request, error);
    if (this.#trace !== undefined) this.#write(request, error, { startMs: this.#clock.nowMs() });
  }

  /** A request failed. @param reason for people. */
  failed({ type, offset, lengthBytes }: RequestHeader, reason: string): void {
    this.#traffic.lastFailure = { type, offset, lengthBytes, reason, atMs: this.#clock.nowMs() };
  }

  #count(request: RequestHeader, error: WireError): CommandTraffic {
    const counts = this.#traffic.of(request.type);
    counts.requests += 1;
    if (error !== WireError.None) {
      counts.failures += 1;
      return counts;
    }
    counts.bytes += request.lengthBytes;
    if (request.type === Command.Read) this.#readBytes += request.lengthBytes;
    else if (request.type === Command.Write) this.#writtenBytes += request.lengthBytes;
    return counts;
  }

  #traceOf({ type, offset, lengthBytes }: RequestHeader): TracedRequest {
    const startMs = this.#clock.nowMs();
    if (type !== Command.Read || lengthBytes === 0) return { startMs };
    const hits = this.#device.blocksAtHand?.(offset, lengthBytes);
    return hits === undefined ? { startMs } : { startMs, hits: hits.hits, fetched: hits.missing };
  }

  #write(request: RequestHeader, error: WireError, { startMs, ...blocks }: TracedRequest): void {
    this.#trace?.debug('request', {
      command: commandName(request.type),
      offset: request.offset,
      lengthBytes: request.lengthBytes,
      flags: request.flags,
      errno: error,
      ms: Math.round((this.#clock.nowMs() - startMs) * 1000) / 1000,
      ...blocks,
    });
  }
}
