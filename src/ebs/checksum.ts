import { createHash, webcrypto } from 'node:crypto';
import { Limiter } from '../util/limiter.js';

/** base64 of the SHA-256 of 524,288 zeros: a block of explicit zeros. */
export const ZERO_BLOCK_CHECKSUM = 'B4VNL+8pega6gWheZgwzLeNtXRjVRpJ9MNqtbX/aFUE=';

// Each of them holds a copy of its block, also while it waits for one of the thread pool's four threads.
const DIGESTS_AT_ONCE_MAX = 8;
const digests = new Limiter(DIGESTS_AT_ONCE_MAX);

/**
 * The checksum of one block as the service writes it: base64 of SHA-256.
 *
 * Computed in the thread pool, of which the main thread notices the copying of the block alone: a quarter of the time
 * that the hash would take there. The bytes are copied when their turn comes: they must not be changed before.
 */
export async function blockChecksum(bytes: Uint8Array): Promise<string> {
  const digest = await digests.run(() => webcrypto.subtle.digest('SHA-256', bytes));
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
