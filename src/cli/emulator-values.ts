import { UsageError } from '../util/errors.js';
import { GIB, parseSizeBytes } from '../util/units.js';

const PORT_MAX = 65_535;
const SEED_MAX = 0xffff_ffff;
const VOLUME_SIZE_MAX_GIB = 65_536;

/**
 * Reads `HOST:PORT` or `[IPV6]:PORT`.
 *
 * @throws {UsageError} when it is neither.
 */
export function parseListenAddress(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+)):(\d{1,5})$/i.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port <= PORT_MAX)) {
    throw new UsageError(
      `Cannot listen on "${text}": write HOST:PORT or [IPV6]:PORT, such as 127.0.0.1:4599.`,
    );
  }
  return { host, port };
}

/** Reads a volume's size. @returns whole GiB. @throws {UsageError} */
export function parseVolumeSizeGib(text: string): number {
  const sizeGib = parseSizeBytes(text) / GIB;
  if (!Number.isInteger(sizeGib) || sizeGib < 1 || sizeGib > VOLUME_SIZE_MAX_GIB) {
    throw new UsageError(
      `Cannot make a volume of "${text}": its size must be whole GiB from 1GiB to ${VOLUME_SIZE_MAX_GIB}GiB.`,
    );
  }
  return sizeGib;
}

/** Reads a share from 0 to 1. @throws {UsageError} */
export function parseFill(text: string): number {
  const fill = Number(text);
  if (!/^\d*\.?\d+$/.test(text) || fill > 1)
    throw new UsageError(`Cannot use --fill ${text}: it must be a number from 0 to 1.`);
  return fill;
}

/** Reads a seed. @throws {UsageError} */
export function parseSeed(text: string): number {
  const seed = Number(text);
  if (!/^\d+$/.test(text) || seed > SEED_MAX)
    throw new UsageError(`Cannot use --seed ${text}: it must be a whole number from 0 to ${SEED_MAX}.`);
  return seed;
}

/** Checks a snapshot's description. @throws {UsageError} when it is longer than the service allows. */
export function parseDescription(text: string): string {
  if (text.length > 255)
    throw new UsageError(`Cannot use a description of ${text.length} characters: 255 are allowed.`);
  return text;
}
