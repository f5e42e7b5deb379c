import { LatencyHistogram } from '../util/latency-histogram.js';
import { Command } from './transmission-constants.js';

/** The requests of one command since the start. */
export class CommandTraffic {
  /** Those that were answered, whether with success or with an error. */
  requests = 0;
  /** What those that succeeded were about, in bytes. */
  bytes = 0;
  failures = 0;
  /** From when the device was asked until it answered. */
  readonly latency = new LatencyHistogram();
}

/** A request that the device has not answered yet. */
export interface WaitingRequest {
  readonly type: number;
  readonly offset: number;
  readonly lengthBytes: number;
  /** By the clock of the server. */
  readonly startMs: number;
}

/** A request that was answered with an error by the device. */
export interface FailedRequest {
  readonly type: number;
  readonly offset: number;
  readonly lengthBytes: number;
  /** For people. */
  readonly reason: string;
  /** By the clock of the server. */
  readonly atMs: number;
}

/** Commands that the protocol knows. */
const COMMAND_COUNT = Command.Resize + 1;

/** What all clients of an export have asked for: plain numbers, bumped in place. */
export class ExportTraffic {
  /** By number of the command, and behind them those that do not exist: made with the first request. */
  readonly #commands = new Array<CommandTraffic | undefined>(COMMAND_COUNT + 1);
  /** The one that the device had first is at the front. */
  readonly waiting = new Set<WaitingRequest>();
  lastFailure: FailedRequest | undefined;

  /** That of a command, or of all commands that do not exist, whose requests are refused. */
  of(type: number): CommandTraffic {
    return (this.#commands[Math.min(type, COMMAND_COUNT)] ??= new CommandTraffic());
  }

  /** The commands that were asked for, by number; undefined stands for those that do not exist. */
  *commands(): Generator<readonly [type: number | undefined, traffic: CommandTraffic]> {
    for (const [type, traffic] of this.#commands.entries()) {
      if (traffic !== undefined) yield [type < COMMAND_COUNT ? type : undefined, traffic];
    }
  }
}
