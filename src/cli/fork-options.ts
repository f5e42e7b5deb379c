import type { Command } from 'commander';
import { Option } from 'commander';
import type { Durability, ForkSettings } from '../app/settings.js';
import { UsageError } from '../util/errors.js';
import { MIB, parseDurationMs, parseSizeBytes } from '../util/units.js';
import { addWishOptions, wishesOf, type WishOptions } from './wish-options.js';

/** Timers of Node.js end here. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** The options that say where forks are kept. */
export interface StateOptions {
  readonly stateDir?: string;
}

/** Adds the option of every command that has to do with forks. */
export function addStateOptions(command: Command): Command {
  return command.option(
    '--state-dir <DIR>',
    'where forks are kept (default: $XDG_STATE_HOME/snapnbd, or ~/.local/state/snapnbd)',
  );
}

/** Adds the option of every command that puts blocks. */
export function addPutRateOption(command: Command): Command {
  return command.addOption(
    new Option(
      '--put-rate <N>',
      'blocks put to AWS a second, at most (default: what the account allows)',
    ).argParser(parseRate),
  );
}

/** The options of `snapnbd serve` for disks that can be written. */
export interface ForkServeOptions extends StateOptions, WishOptions {
  readonly durability?: Durability;
  readonly putRate?: number;
  readonly stageLimit?: number;
  readonly commitOn?: 'disconnect';
  readonly commitEvery?: number;
}

/** Adds the options of `snapnbd serve` for disks that can be written. */
export function addForkServeOptions(command: Command): Command {
  return addWishOptions(addPutRateOption(addStateOptions(command)))
    .addOption(
      new Option(
        '--durability <WHERE>',
        'where flushed data is when a flush is answered: on this disk, or also put to AWS (default: local)',
      ).choices(['local', 'remote']),
    )
    .addOption(
      new Option(
        '--stage-limit <SIZE>',
        'staged data of each fork, at most (default: what the disk has)',
      ).argParser(parseStageLimit),
    )
    .addOption(
      new Option('--commit-on <EVENT>', 'commit a fork when its last client disconnects properly').choices([
        'disconnect',
      ]),
    )
    .addOption(
      new Option('--commit-every <TIME>', 'commit each fork again and again, so far apart').argParser(
        parseInterval,
      ),
    );
}

/** The settings that the options of `snapnbd serve` stand for. */
export function forkSettingsOf(options: ForkServeOptions): ForkSettings {
  const { durability, putRate, stageLimit, commitOn, commitEvery } = options;
  return {
    ...stateSettingsOf(options),
    wishes: wishesOf(options),
    ...(durability === undefined ? {} : { durability }),
    ...(putRate === undefined ? {} : { putsPerSecond: putRate }),
    ...(stageLimit === undefined ? {} : { stageLimitBytes: stageLimit }),
    ...(commitOn === undefined ? {} : { commitsOnDisconnect: true }),
    ...(commitEvery === undefined ? {} : { commitEveryMs: commitEvery }),
  };
}

/** The settings that the options stand for. */
export function stateSettingsOf(options: StateOptions): ForkSettings {
  return options.stateDir === undefined ? {} : { stateDir: options.stateDir };
}

function parseRate(text: string): number {
  const rate = Number(text);
  if (text.trim() === '' || !Number.isFinite(rate) || rate <= 0) {
    throw new UsageError(`Cannot use "${text}" as --put-rate: write a number above 0, such as 200.`);
  }
  return rate;
}

function parseStageLimit(text: string): number {
  const limitBytes = parseSizeBytes(text);
  if (limitBytes < MIB) throw new UsageError(`Cannot use "${text}" as --stage-limit: it is at least 1MiB.`);
  return limitBytes;
}

function parseInterval(text: string): number {
  const intervalMs = parseDurationMs(text);
  if (intervalMs < 1000 || intervalMs > TIMER_MAX_MS) {
    throw new UsageError(`Cannot use "${text}" as --commit-every: it is from 1s to 24d, such as 15m.`);
  }
  return intervalMs;
}
