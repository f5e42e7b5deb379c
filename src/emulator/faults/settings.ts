import { parseDurationMs } from '../../util/units.js';
import { UsageError } from '../../util/errors.js';

/** How the emulator misbehaves, and the speeds and times that it keeps. */
export interface FaultSettings {
  /** Every answer comes this much later, however many are under way. In milliseconds; default 0. */
  readonly latencyMs: number;
  /** GetSnapshotBlock per second, beyond which the account is throttled; null (default): no limit. */
  readonly getRate: number | null;
  /** PutSnapshotBlock per second. */
  readonly putRate: number | null;
  /** ListSnapshotBlocks and ListChangedBlocks per second, each. */
  readonly listRate: number | null;
  /** StartSnapshot per second. */
  readonly startRate: number | null;
  /** CompleteSnapshot per second. */
  readonly completeRate: number | null;
  /** GetSnapshotBlock per second from one snapshot, beyond which that snapshot is throttled. */
  readonly snapshotGetRate: number | null;
  /** PutSnapshotBlock per second to one snapshot. */
  readonly snapshotPutRate: number | null;
  /** Share of requests, 0 to 1, that end in a 5xx before anything is done. Default 0, as all shares. */
  readonly errorRate: number;
  /** Share of blocks whose bytes do not have their checksum. */
  readonly corruptRate: number;
  /** Share of requests whose connection is cut in the middle of a body. */
  readonly dropRate: number;
  /** Share of list pages that are empty and have a NextToken. */
  readonly emptyPageRate: number;
  /** What the shares are drawn with, from 0 to 2^32 - 1; default 1. Setting it begins the sequence anew. */
  readonly seed: number;
  /** Most results of a list page, whatever the client asks for; null (default): what the client asks for. */
  readonly pageSize: number | null;
  /** How long block tokens are good; default 7 days. A page's expiry is up to 1 % less. */
  readonly tokenTtlMs: number;
  /** How long a completed snapshot is not readable yet; default 0. */
  readonly readableDelayMs: number;
  /** How long after StartSnapshot puts are answered with 404; default 0. */
  readonly startDelayMs: number;
  /** How long a snapshot stays pending after CompleteSnapshot; default 0. */
  readonly completeDelayMs: number;
  /** Permissions that nobody has, such as `ec2:*,ebs:PutSnapshotBlock`; null (default): everybody has all. */
  readonly deny: string | null;
}

export const DEFAULT_FAULT_SETTINGS: FaultSettings = {
  latencyMs: 0,
  getRate: null,
  putRate: null,
  listRate: null,
  startRate: null,
  completeRate: null,
  snapshotGetRate: null,
  snapshotPutRate: null,
  errorRate: 0,
  corruptRate: 0,
  dropRate: 0,
  emptyPageRate: 0,
  seed: 1,
  pageSize: null,
  tokenTtlMs: 7 * 86_400_000,
  readableDelayMs: 0,
  startDelayMs: 0,
  completeDelayMs: 0,
  deny: null,
};

/** Well below the time after which an idle connection is closed. */
const LATENCY_MAX_MS = 60_000;
const DELAY_MAX_MS = 3_600_000;
const TOKEN_TTL_MAX_MS = 365 * 86_400_000;
const SEED_MAX = 0xffff_ffff;
const RESULTS_MAX = 10_000;

type Value = number | string | null;
type Check<T extends Value = Value> = (value: unknown, name: string) => T;

function within(min: number, max: number, whole: boolean): Check<number> {
  return (value, name) => {
    const isFine =
      typeof value === 'number' && value >= min && value <= max && (!whole || Number.isInteger(value));
    if (isFine) return value;
    throw new UsageError(
      `Cannot set ${name} to ${shown(value)}: it must be a ${whole ? 'whole ' : ''}number from ${min} to ${max}.`,
    );
  };
}

const share = within(0, 1, false);

function orNull(check: Check): Check {
  return (value, name) => (value === null ? null : check(value, name));
}

const rate = orNull((value, name) => {
  if (typeof value === 'number' && value > 0 && Number.isFinite(value)) return value;
  throw new UsageError(
    `Cannot set ${name} to ${shown(value)}: it must be a number of requests per second above 0, or null for no limit.`,
  );
});

/** Names of operations with their services, and asterisks in them. */
const PERMISSIONS_PATTERN = /^(?:ebs|ec2):[A-Za-z*]+(?:,(?:ebs|ec2):[A-Za-z*]+)*$/;

function permissions(value: unknown, name: string): string {
  if (typeof value === 'string' && PERMISSIONS_PATTERN.test(value)) return value;
  throw new UsageError(
    `Cannot set ${name} to ${shown(value)}: write permissions such as "ec2:*,ebs:PutSnapshotBlock".`,
  );
}

/** Durations come as seconds or as text with a unit. */
function duration(maxMs: number): Check {
  return (value, name) => {
    const ms =
      typeof value === 'number' ? value * 1000 : typeof value === 'string' ? parseDurationMs(value) : NaN;
    if (ms >= 0 && ms <= maxMs) return Math.round(ms);
    throw new UsageError(
      `Cannot set ${name} to ${shown(value)}: it must be seconds from 0 to ${maxMs / 1000}, or a text such as "30s".`,
    );
  };
}

function shown(value: unknown): string {
  return JSON.stringify(value).slice(0, 60);
}

interface Field {
  readonly key: keyof FaultSettings;
  readonly check: Check;
}

/** By their names outside: as the options of the command, without hyphens. */
const FIELDS: Readonly<Record<string, Field>> = {
  latencyMs: { key: 'latencyMs', check: within(0, LATENCY_MAX_MS, false) },
  getRate: { key: 'getRate', check: rate },
  putRate: { key: 'putRate', check: rate },
  listRate: { key: 'listRate', check: rate },
  startRate: { key: 'startRate', check: rate },
  completeRate: { key: 'completeRate', check: rate },
  snapshotGetRate: { key: 'snapshotGetRate', check: rate },
  snapshotPutRate: { key: 'snapshotPutRate', check: rate },
  errorRate: { key: 'errorRate', check: share },
  corruptRate: { key: 'corruptRate', check: share },
  dropRate: { key: 'dropRate', check: share },
  emptyPageRate: { key: 'emptyPageRate', check: share },
  seed: { key: 'seed', check: within(0, SEED_MAX, true) },
  pageSize: { key: 'pageSize', check: orNull(within(1, RESULTS_MAX, true)) },
  tokenTtl: { key: 'tokenTtlMs', check: duration(TOKEN_TTL_MAX_MS) },
  readableDelay: { key: 'readableDelayMs', check: duration(DELAY_MAX_MS) },
  startDelay: { key: 'startDelayMs', check: duration(DELAY_MAX_MS) },
  completeDelay: { key: 'completeDelayMs', check: duration(DELAY_MAX_MS) },
  deny: { key: 'deny', check: orNull(permissions) },
};

/** `--error-rate`, `error_rate` and `errorRate` are the same name. */
const FIELD_BY_PLAIN_NAME = new Map(Object.entries(FIELDS).map(([name, field]) => [plain(name), field]));

function plain(name: string): string {
  return name.replace(/[-_]/g, '').toLowerCase();
}

/**
 * Reads settings from outside: any subset of the names of the options (`errorRate` or `error-rate`), durations
 * as seconds or as text with a unit, null for a limit that is off.
 *
 * @throws {UsageError} naming the first setting that is unknown or out of its range.
 */
export function parseFaultSettings(input: unknown): Partial<FaultSettings> {
  if (typeof input !== 'object' || input === null || Array.isArray(input))
    throw new UsageError('Cannot set faults: give a JSON object, such as {"errorRate": 0.1}.');
  const settings: Partial<Record<keyof FaultSettings, Value>> = {};
  for (const [given, value] of Object.entries(input)) {
    const known = FIELD_BY_PLAIN_NAME.get(plain(given));
    if (known === undefined) {
      const names = Object.keys(FIELDS).join(', ');
      throw new UsageError(
        `Cannot set the fault "${given.slice(0, 60)}": there is none of that name, but ${names}.`,
      );
    }
    settings[known.key] = known.check(value, given);
  }
  return settings as Partial<FaultSettings>;
}

/** The settings under their names outside, durations in seconds: what {@link parseFaultSettings} takes back. */
export function describeFaultSettings(settings: FaultSettings): Record<string, Value> {
  return Object.fromEntries(
    Object.entries(FIELDS).map(([name, { key }]) => {
      const value = settings[key];
      return [name, key !== name && typeof value === 'number' ? value / 1000 : value];
    }),
  );
}
