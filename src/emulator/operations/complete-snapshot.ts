import { Constraints, parseInteger } from '../constraints.js';
import { checkAggregation, checkAlgorithm, checkChecksum } from './checksum-fields.js';
import { jsonAnswer, type ApiAnswer, type ApiRequest, type OperationContext } from './operation.js';

/** [ebs: CompleteSnapshot] */
export async function completeSnapshot(context: OperationContext, request: ApiRequest): Promise<ApiAnswer> {
  const { snapshotId } = request.route;
  const constraints = new Constraints();
  const changedBlocksCount = parseInteger('changedBlocksCount', request.header('x-amz-changedblockscount'));
  const checksum = request.header('x-amz-checksum');
  constraints.snapshotId('snapshotId', snapshotId);
  constraints.required('changedBlocksCount', changedBlocksCount);
  constraints.integer('changedBlocksCount', changedBlocksCount, { min: 0 });
  checkChecksum(constraints, checksum);
  checkAlgorithm(constraints, request.header('x-amz-checksum-algorithm'));
  checkAggregation(constraints, request.header('x-amz-checksum-aggregation-method'));
  constraints.verify();

  const state = await context.snapshots.complete(snapshotId, {
    changedBlocksCount: changedBlocksCount ?? 0,
    checksum: checksum ?? null,
  });
  return jsonAnswer(202, JSON.stringify({ Status: state }));
}
