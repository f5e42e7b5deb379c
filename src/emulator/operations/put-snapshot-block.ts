import { ZERO_BLOCK_CHECKSUM, blockChecksum } from '../../ebs/checksum.js';
import { BLOCKS_PER_GIB, BLOCK_BYTES, CHECKSUM_ALGORITHM } from '../../ebs/constants.js';
import { Constraints, parseInteger } from '../constraints.js';
import { Reason, frameworkError, invalid } from '../errors.js';
import { jsonAnswer, type ApiAnswer, type ApiRequest, type OperationContext } from './operation.js';
import { checkAlgorithm, checkChecksum } from './checksum-fields.js';

interface PutFields {
  readonly snapshotId: string;
  readonly blockIndex: number;
  readonly dataLength: number;
  /** base64 of SHA-256. */
  readonly checksum: string;
}

/** [ebs: PutSnapshotBlock] */
export async function putSnapshotBlock(context: OperationContext, request: ApiRequest): Promise<ApiAnswer> {
  const fields = readFields(request);
  const { snapshotId, blockIndex, checksum } = fields;
  const { volumeSizeGib } = await context.snapshots.writable(snapshotId);
  if (blockIndex >= volumeSizeGib * BLOCKS_PER_GIB)
    throw invalid(Reason.InvalidBlock, `The block index ${blockIndex} is past the end of the volume.`);
  if (fields.dataLength !== BLOCK_BYTES)
    throw invalid(
      Reason.InvalidBlock,
      `The data length is ${fields.dataLength}, and must be ${BLOCK_BYTES}.`,
    );

  const buffer = await context.putBuffers.take();
  try {
    const length = await request.readInto(buffer.bytes);
    if (length < BLOCK_BYTES) throw invalid(Reason.InvalidParameterValue, 'Failed to read block data');
    if (length > BLOCK_BYTES)
      throw invalid(Reason.InvalidBlock, `The block data is longer than ${BLOCK_BYTES} bytes.`);
    if ((await blockChecksum(buffer.bytes)) !== checksum)
      throw frameworkError('InvalidSignatureException', 'The checksum does not match the block data.');
    await context.snapshots.put(snapshotId, {
      blockIndex,
      bytes: checksum === ZERO_BLOCK_CHECKSUM ? undefined : buffer.bytes,
      digest: Buffer.from(checksum, 'base64'),
      putAtMs: context.clock.dateMs(),
    });
  } finally {
    buffer.release();
  }
  return jsonAnswer(201, '{}', {
    'x-amz-Checksum': checksum,
    'x-amz-Checksum-Algorithm': CHECKSUM_ALGORITHM,
  });
}

function readFields(request: ApiRequest): PutFields {
  const { snapshotId } = request.route;
  const constraints = new Constraints();
  const blockIndex = parseInteger('blockIndex', request.route.blockIndex) ?? 0;
  const dataLength = parseInteger('dataLength', request.header('x-amz-data-length'));
  const progress = parseInteger('progress', request.header('x-amz-progress'));
  constraints.snapshotId('snapshotId', snapshotId);
  constraints.integer('blockIndex', blockIndex, { min: 0 });
  constraints.required('dataLength', dataLength);
  constraints.integer('progress', progress, { min: 0, max: 100 });
  const checksum = request.header('x-amz-checksum');
  constraints.required('checksum', checksum);
  checkChecksum(constraints, checksum);
  const algorithm = request.header('x-amz-checksum-algorithm');
  constraints.required('checksumAlgorithm', algorithm);
  checkAlgorithm(constraints, algorithm);
  constraints.verify();
  const encoding = request.header('content-encoding');
  if (encoding !== undefined && encoding !== 'identity')
    throw invalid(Reason.InvalidContentEncoding, `The content encoding '${encoding}' is not supported.`);
  return { snapshotId, blockIndex, dataLength: dataLength ?? 0, checksum: checksum ?? '' };
}
