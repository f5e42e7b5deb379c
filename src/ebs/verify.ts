import { blockChecksum } from './checksum.js';
import { BLOCK_BYTES, CHECKSUM_ALGORITHM } from './constants.js';
import { answerError } from './error-map.js';
import { EbsErrorKind, EbsOperation } from './errors.js';
import type { ReceivedBlock, SnapshotApi } from './snapshot-api.js';

/**
 * Lets only blocks through whose length, algorithm and SHA-256 are what the service declares. Goes between the
 * client and the retrying, so that a damaged block is asked for again.
 *
 * @throws {EbsError} `corrupt-block` from getSnapshotBlock.
 */
export function withVerification(api: SnapshotApi): SnapshotApi {
  return {
    listSnapshotBlocks: (request, options) => api.listSnapshotBlocks(request, options),
    listChangedBlocks: (request, options) => api.listChangedBlocks(request, options),
    getSnapshotBlock: async (request, options) => {
      const block = await api.getSnapshotBlock(request, options);
      const fault = await faultOf(block);
      if (fault === undefined) return block;
      const { snapshotId, blockIndex } = request;
      const subject = { operation: EbsOperation.GetSnapshotBlock, snapshotId, blockIndex };
      throw answerError(EbsErrorKind.CorruptBlock, subject, fault);
    },
    startSnapshot: (request, options) => api.startSnapshot(request, options),
    putSnapshotBlock: (request, options) => api.putSnapshotBlock(request, options),
    completeSnapshot: (request, options) => api.completeSnapshot(request, options),
    close: () => api.close(),
  };
}

// [ebs: GetSnapshotBlock] x-amz-Data-Length, x-amz-Checksum-Algorithm, x-amz-Checksum
async function faultOf(block: ReceivedBlock): Promise<string | undefined> {
  const { bytes, declaredLengthBytes, checksum, checksumAlgorithm } = block;
  if (bytes.length !== BLOCK_BYTES) return `${bytes.length} of ${BLOCK_BYTES} bytes arrived`;
  if (declaredLengthBytes !== BLOCK_BYTES) {
    return `the service declares ${declaredLengthBytes ?? 'no'} bytes rather than ${BLOCK_BYTES}`;
  }
  if (checksumAlgorithm !== CHECKSUM_ALGORITHM) {
    return `the checksum's algorithm is ${checksumAlgorithm ?? 'missing'} rather than ${CHECKSUM_ALGORITHM}`;
  }
  if (checksum === undefined) return 'the answer has no checksum';
  const computed = await blockChecksum(bytes);
  return computed === checksum
    ? undefined
    : `its SHA-256 is ${computed} where the service declares ${checksum}`;
}
