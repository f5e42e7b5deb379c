import { Option, type Command } from 'commander';
import type { ExpressedWishes } from '../app/settings.js';
import type { TransferProgress, TransferTask } from '../app/transfers/transfer-task.js';
import { UsageError } from '../util/errors.js';
import { GIB, parseSizeBytes } from '../util/units.js';
import { addPutRateOption } from './fork-options.js';
import { TransferBar } from './transfer-bar.js';
import { addWishOptions, wishesOf, type WishOptions } from './wish-options.js';

/** The largest volume. */
const VOLUME_GIB_MAX = 65_536;

/** The options that all transfers have. */
export interface TransferOptions {
  readonly stateDir?: string;
  readonly json?: true;
}

/** The options of transfers that make a snapshot. */
export interface MakingOptions extends TransferOptions, WishOptions {
  readonly parent?: string;
  readonly kmsKeyId?: string;
  readonly putRate?: number;
}

/** Adds the options of every transfer. */
export function addTransferOptions(command: Command): Command {
  return command
    .option(
      '--state-dir <DIR>',
      'where unfinished transfers are noted (default: $XDG_STATE_HOME/snapnbd, or ~/.local/state/snapnbd)',
    )
    .option('--json', 'say at the end what was done as one JSON object');
}

/** Adds the options of transfers that make a snapshot. */
export function addMakingOptions(command: Command): Command {
  return addPutRateOption(
    addWishOptions(
      addTransferOptions(
        command.option(
          '--parent <SNAP>',
          'put only blocks that differ from this snapshot, and make a child of it',
        ),
      ),
    ),
  ).addOption(new Option('--kms-key-id <ID>', 'the same as --kms-key').conflicts(['kmsKey']));
}

/**
 * The wishes that the options stand for.
 *
 * @throws {UsageError} for a key beside a parent, whose encryption a child has.
 */
export function makingWishesOf(options: MakingOptions): ExpressedWishes {
  const { kmsKeyId, kmsKey = kmsKeyId, encrypted, parent } = options;
  if (parent !== undefined && (encrypted === true || kmsKey !== undefined)) {
    throw new UsageError(
      `Cannot use ${kmsKey === undefined ? '--encrypted' : '--kms-key-id'} with --parent: a snapshot has the encryption and the key of its parent.`,
    );
  }
  return wishesOf(kmsKey === undefined ? options : { ...options, kmsKey });
}

/** A volume size in GiB: `20`, or with a unit, `1TiB`. @throws {UsageError}. */
export function parseVolumeSize(text: string): number {
  const gib = /^\d+$/.test(text) ? Number(text) : parseSizeBytes(text) / GIB;
  if (Number.isInteger(gib) && gib >= 1 && gib <= VOLUME_GIB_MAX) return gib;
  throw new UsageError(`Cannot use --volume-size ${text}: it is whole GiB, from 1 to ${VOLUME_GIB_MAX}.`);
}

/** The sources of signals, and how a log is written; as the app layer has them. */
interface Machinery {
  readonly createLogWriter: (options: {
    readonly level: 'warn';
    readonly write: (line: string) => void;
  }) => TransferTask['logger'];
  readonly watchStopSignals: (
    source: NodeJS.Process,
    logger: TransferTask['logger'],
  ) => { readonly signal: AbortSignal; dispose(): void };
}

/** What every transfer is run with beside its settings. */
export interface TransferRun {
  readonly logger: TransferTask['logger'];
  readonly signal: AbortSignal;
  readonly onProgress: ((progress: TransferProgress, usd: number) => void) | undefined;
}

/** Runs a transfer with a bar, a log above it, and an end at Ctrl-C that can be gone on from. */
export async function withTransferBar<T>(
  { createLogWriter, watchStopSignals }: Machinery,
  run: (context: TransferRun) => Promise<T>,
): Promise<T> {
  const bar = await TransferBar.on(process.stderr);
  const logger = createLogWriter({ level: 'warn', write: (line) => bar.interrupt(line) });
  const stop = watchStopSignals(process, logger);
  try {
    return await run({
      logger,
      signal: stop.signal,
      onProgress: bar.isShown ? (progress, usd) => bar.show(progress, usd) : undefined,
    });
  } finally {
    stop.dispose();
    bar.stop();
  }
}

/** `3.2 GiB moved at 410 blocks/s, 1.1 GiB were there, $0.0123` */
export function summaryOf(report: {
  readonly movedBlockCount: number;
  readonly keptBlockCount: number;
  readonly skippedBlockCount: number;
  readonly seconds: number;
  readonly costUsd: number;
}): string {
  const { movedBlockCount, keptBlockCount, skippedBlockCount, seconds, costUsd } = report;
  const parts = [
    `${movedBlockCount} blocks moved in ${seconds.toFixed(1)} s (${(movedBlockCount / Math.max(seconds, 0.001)).toFixed(0)}/s)`,
    ...(keptBlockCount === 0 ? [] : [`${keptBlockCount} moved by an earlier run`]),
    ...(skippedBlockCount === 0 ? [] : [`${skippedBlockCount} needed no moving`]),
    `$${costUsd.toFixed(6)}`,
  ];
  return parts.join(', ');
}
