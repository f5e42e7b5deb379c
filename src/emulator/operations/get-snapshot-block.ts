import { BLOCKS_PER_GIB, BLOCK_BYTES, CHECKSUM_ALGORITHM } from '../../ebs/constants.js';
import { Constraints, parseInteger } from '../constraints.js';
import { Reason, invalid } from '../errors.js';
import type { BlockContents } from '../store/block-reader.js';
import { TokenState } from '../tokens.js';
import type { ApiAnswer, ApiRequest, OperationContext } from './operation.js';
import { tokenFrom } from './paging.js';

/** [ebs: GetSnapshotBlock] */
export async function getSnapshotBlock(context: OperationContext, request: ApiRequest): Promise<ApiAnswer> {
  const { snapshotId } = request.route;
  const constraints = new Constraints();
  const blockIndex = parseInteger('blockIndex', request.route.blockIndex) ?? 0;
  const token = tokenFrom(request.query, 'blockToken');
  constraints.snapshotId('snapshotId', snapshotId);
  constraints.integer('blockIndex', blockIndex, { min: 0 });
  constraints.required('blockToken', token);
  constraints.token('blockToken', token);
  constraints.verify();

  const view = await context.snapshots.readableView(snapshotId);
  if (blockIndex >= view.volumeSizeGib * BLOCKS_PER_GIB)
    throw invalid(Reason.InvalidBlock, `The block index ${blockIndex} is past the end of the volume.`);
  const state = context.blockTokens.check(token ?? '', snapshotId, blockIndex, context.clock.dateMs());
  if (state !== TokenState.Valid) {
    const fault = state === TokenState.Expired ? 'has expired' : 'is not for this block';
    throw invalid(Reason.InvalidBlockToken, `The block token ${fault}.`);
  }
  const contents = await context.snapshots.readBlock(view, blockIndex);
  // Only listed blocks have tokens, but a token is no proof for what a damaged folder lost.
  if (contents === undefined) throw invalid(Reason.InvalidBlock, `The block ${blockIndex} is not listed.`);
  return {
    status: 200,
    headers: {
      'Content-Type': 'application/octet-stream',
      'x-amz-Data-Length': BLOCK_BYTES,
      'x-amz-Checksum': contents.digest.toString('base64'),
      'x-amz-Checksum-Algorithm': CHECKSUM_ALGORITHM,
    },
    pieces: request.faults.corrupt ? corrupted(contents, request.faults.position) : contents.pieces,
    release: contents.release,
  };
}

/** The contents with one byte changed, so that they no longer have their checksum. */
function corrupted(contents: BlockContents, position: number): Buffer[] {
  const bytes = Buffer.concat(contents.pieces);
  const at = Math.floor(position * bytes.length);
  bytes.writeUInt8(bytes.readUInt8(at) ^ 0xff, at);
  return [bytes];
}
