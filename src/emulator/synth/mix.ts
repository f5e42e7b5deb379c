/** The odd constant that counters are multiplied with: 2^32 divided by the golden ratio. */
export const GOLDEN = 0x9e37_79b9;

/**
 * Scatters 32 bits over 32 bits, one to one; the "lowbias32" finalizer with the constants 0x21f0aaad and
 * 0x735a2d97.
 *
 * @returns an unsigned 32-bit number.
 */
export function mix32(value: number): number {
  let x = value | 0;
  x ^= x >>> 16;
  x = Math.imul(x, 0x21f0_aaad);
  x ^= x >>> 15;
  x = Math.imul(x, 0x735a_2d97);
  x ^= x >>> 15;
  return x >>> 0;
}

/**
 * A number that depends on a seed, a purpose and a counter: mix32(mix32(mix32(seed) + purpose) + counter).
 *
 * @param seed from 0 to 2^32 - 1.
 * @param purpose keeps apart what is drawn from one seed.
 * @param counter from 0 to 2^32 - 1.
 * @returns an unsigned 32-bit number.
 */
export function draw32(seed: number, purpose: number, counter: number): number {
  return mix32(mix32(mix32(seed) + purpose) + counter);
}
