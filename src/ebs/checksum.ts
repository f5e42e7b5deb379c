import { createHash, webcrypto } from 'node:crypto';

/** base64 of the SHA-256 of 524,288 zeros: a block of explicit zeros. */
export const ZERO_BLOCK_CHECKSUM = 'B4VNL+8pega6gWheZgwzLeNtXRjVRpJ9MNqtbX/aFUE=';

/**
 * The checksum of one block as the service writes it: base64 of SHA-256.
 *
 * Computed in the thread pool: on the main thread each block would hold up every client for the length of the
 * hash. The bytes are copied when the call is made, so they may be changed afterwards.
 */
export async function blockChecksum(bytes: Uint8Array): Promise<string> {
  const digest = await webcrypto.subtle.digest('SHA-256', bytes);
  return Buffer.from(digest).toString('base64');
}

/**
 * The LINEAR checksum of a snapshot: base64 of SHA-256 over the concatenated binary digests of its own blocks.
 *
 * @param checksums the blocks' checksums (base64) in ascending order of block index.
 */
export function linearChecksum(checksums: Iterable<string>): string {
  const hash = createHash('sha256');
  for (const checksum of checksums) hash.update(checksum, 'base64');
  return hash.digest('base64');
}
