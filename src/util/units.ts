import { UsageError } from './errors.js';

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;
export const TIB = 1024 * GIB;

const BINARY_FACTORS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: KIB,
  kib: KIB,
  m: MIB,
  mib: MIB,
  g: GIB,
  gib: GIB,
  t: TIB,
  tib: TIB,
};

const DECIMAL_FACTORS: Readonly<Record<string, number>> = { kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12 };

/**
 * Reads a size as people write it: `20GiB`, `20G` (both binary), `20GB` (decimal), `512`, `1.5T`.
 *
 * @returns the size in bytes, a whole number.
 * @throws {UsageError} when the text is not a size, or not a whole number of bytes that can be counted exactly.
 */
export function parseSizeBytes(text: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text);
  const unit = match?.[2]?.toLowerCase() ?? '';
  const factor = BINARY_FACTORS[unit] ?? DECIMAL_FACTORS[unit];
  if (match === null || factor === undefined) {
    throw new UsageError(
      `Cannot read "${text}" as a size: write a number and a unit, such as 512MiB or 20GiB.`,
    );
  }
  const sizeBytes = Number(match[1]) * factor;
  if (!Number.isSafeInteger(sizeBytes)) {
    throw new UsageError(`Cannot use the size "${text}": it is not a whole number of bytes below 2^53.`);
  }
  return sizeBytes;
}

const DURATION_FACTORS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  '': 1000,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/**
 * Reads a duration: `250ms`, `30s`, `30` (seconds), `15m`, `2h`, `7d`.
 *
 * @returns the duration in milliseconds.
 * @throws {UsageError} when the text is not a duration.
 */
export function parseDurationMs(text: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text);
  const factor = DURATION_FACTORS_MS[match?.[2]?.toLowerCase() ?? ''];
  if (match === null || factor === undefined) {
    throw new UsageError(
      `Cannot read "${text}" as a duration: write a number and a unit, such as 250ms, 30s or 15m.`,
    );
  }
  return Number(match[1]) * factor;
}

const BINARY_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** Writes a size for people, with at most one decimal: `512 KiB`, `1.5 GiB`. */
export function formatBytes(sizeBytes: number): string {
  let value = sizeBytes;
  let unitIndex = 0;
  while (value >= 1024 && unitIndex < BINARY_UNITS.length - 1) {
    value /= 1024;
    unitIndex += 1;
  }
  const digits = Number.isInteger(value) ? value.toString() : value.toFixed(1);
  return `${digits} ${BINARY_UNITS[unitIndex] ?? 'B'}`;
}
