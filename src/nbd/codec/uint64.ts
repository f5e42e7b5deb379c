/** The first number that a 64-bit field cannot be counted to exactly: 2^53 in its upper half. */
const HIGH_LIMIT = 0x0020_0000;
const TWO_POW_32 = 0x1_0000_0000;

/**
 * Reads an unsigned 64-bit field as two halves. Values from 2^53 on become Infinity: larger than anything that they
 * may be compared with, so that no bound is missed by rounding. [nbd-rule 24]
 */
export function readUint64(bytes: Buffer, at: number): number {
  const high = bytes.readUInt32BE(at);
  return high < HIGH_LIMIT ? high * TWO_POW_32 + bytes.readUInt32BE(at + 4) : Infinity;
}

/** Writes a safe integer as an unsigned 64-bit field. */
export function writeUint64(bytes: Buffer, at: number, value: number): void {
  bytes.writeUInt32BE(Math.floor(value / TWO_POW_32), at);
  bytes.writeUInt32BE(value % TWO_POW_32, at + 4);
}
