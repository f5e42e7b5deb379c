/** The Castagnoli polynomial, with its bits reversed. */
const POLYNOMIAL = 0x82f63b78;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ POLYNOMIAL;
  return crc >>> 0;
});

/**
 * CRC-32C as filesystems use it: without the inversion of the result, so that one call can go on where another ended.
 * Node.js has only the CRC-32 of zlib, which is another polynomial.
 *
 * @param seed default: all ones.
 */
export function crc32c(bytes: Uint8Array, seed = 0xffffffff): number {
  let crc = seed;
  for (const byte of bytes) crc = (TABLE[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return crc >>> 0;
}

/** The same over the four bytes of a little-endian number. */
export function crc32cOfUint32(value: number, seed?: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return crc32c(bytes, seed);
}
