import type { Command } from 'commander';
import { Option } from 'commander';
import type { AllowRule } from '../app/on-demand/allow-rules.js';
import type { OnDemandSettings } from '../app/settings.js';
import { UsageError } from '../util/errors.js';
import { parseDurationMs } from '../util/units.js';

/** Each holds a listing, and a read-ahead of its own. */
const ANY_MAX_LIMIT = 4096;
/** Timers of Node.js end here. */
const IDLE_MAX_MS = 2 ** 31 - 1;

/** The options for snapshots that nobody named when the server was started. */
export interface AnyOptions {
  readonly any?: true;
  readonly allow?: readonly string[];
  readonly anyMax?: number;
  readonly anyIdle?: number;
}

/** Adds the options of `snapnbd serve` for snapshots that are opened on demand. */
export function addAnyOptions(command: Command): Command {
  return command
    .option(
      '--any',
      'open any snapshot that a client asks for, as snap-ID or snap-ID,since=snap-ID; clients are shown those of the account',
    )
    .addOption(
      new Option(
        '--allow <RULE>',
        'which snapshots --any may open: snap-PATTERN, tag:KEY=PATTERN, owner:self or owner:ACCOUNT, commas for "and"; ' +
          'repeatable for "or" (default: all that can be read)',
      ).argParser((text, earlier: readonly string[] | undefined) => [...(earlier ?? []), text]),
    )
    .addOption(
      new Option('--any-max <N>', 'snapshots that --any has open at once, at most (default: 64)').argParser(
        parseMax,
      ),
    )
    .addOption(
      new Option(
        '--any-idle <TIME>',
        'how long --any keeps a snapshot open that nobody uses (default: 5m)',
      ).argParser(parseIdleMs),
    );
}

/**
 * The settings that the options stand for.
 *
 * @param parse reads one rule.
 * @returns undefined without --any.
 * @throws {UsageError} for options that mean nothing without --any.
 */
export function onDemandSettingsOf(
  { any, allow, anyMax, anyIdle }: AnyOptions,
  parse: (text: string) => AllowRule,
): OnDemandSettings | undefined {
  if (any !== true) {
    const option = allow !== undefined ? '--allow' : anyMax !== undefined ? '--any-max' : '--any-idle';
    if (allow === undefined && anyMax === undefined && anyIdle === undefined) return undefined;
    throw new UsageError(`Cannot use ${option} alone: it goes with --any.`);
  }
  return {
    ...(allow === undefined ? {} : { allow: allow.map(parse) }),
    ...(anyMax === undefined ? {} : { openMax: anyMax }),
    ...(anyIdle === undefined ? {} : { idleMs: anyIdle }),
  };
}

function parseMax(text: string): number {
  const count = /^\d+$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= ANY_MAX_LIMIT) return count;
  throw new UsageError(`Cannot use --any-max ${text}: write a number from 1 to ${ANY_MAX_LIMIT}.`);
}

function parseIdleMs(text: string): number {
  const idleMs = parseDurationMs(text);
  if (idleMs >= 1000 && idleMs <= IDLE_MAX_MS) return idleMs;
  throw new UsageError(`Cannot use --any-idle ${text}: it is from 1s to 24d, such as 5m.`);
}
