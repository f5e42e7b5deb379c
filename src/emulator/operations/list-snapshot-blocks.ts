import { BLOCK_BYTES } from '../../ebs/constants.js';
import { Constraints } from '../constraints.js';
import { PAGE_BLOCKS } from '../store/index-format.js';
import { lowerBound, type SnapshotView } from '../store/snapshot-view.js';
import { jsonAnswer, type ApiAnswer, type ApiRequest, type OperationContext } from './operation.js';
import { nextTokenOf, pageExpiryMs, planPage, readPageFields } from './paging.js';

/** [ebs: ListSnapshotBlocks] */
export async function listSnapshotBlocks(context: OperationContext, request: ApiRequest): Promise<ApiAnswer> {
  const { snapshotId } = request.route;
  const constraints = new Constraints();
  constraints.snapshotId('snapshotId', snapshotId);
  const fields = readPageFields(request.query, constraints);
  constraints.verify();

  const view = await context.snapshots.readableView(snapshotId);
  const listing = `blocks ${snapshotId}`;
  const { fromBlockIndex, resultsMax, empty } = planPage(context, request, listing, fields);
  // One more than the page holds shows where the next one begins.
  const found = await collectListed(view, fromBlockIndex, resultsMax + 1);
  const nextBlockIndex = empty ? found[0] : found[resultsMax];
  const shown = empty ? [] : found.slice(0, resultsMax);
  const expiryMs = pageExpiryMs(context, fromBlockIndex);
  const tokens = context.blockTokens.issue(snapshotId, shown, expiryMs);
  const blocks = shown.map((index, at) => `{"BlockIndex":${index},"BlockToken":"${tokens[at] ?? ''}"}`);
  const nextToken = nextTokenOf(
    context,
    listing,
    nextBlockIndex === undefined ? undefined : { nextBlockIndex, afterEmptyPage: empty },
  );
  return jsonAnswer(
    200,
    `{"BlockSize":${BLOCK_BYTES},"Blocks":[${blocks.join(',')}],"ExpiryTime":${expiryMs / 1000},` +
      `"NextToken":${JSON.stringify(nextToken)},"VolumeSize":${view.volumeSizeGib}}`,
  );
}

/** Indexes of listed blocks from `fromBlockIndex` on, ascending, at most `countMax`. */
async function collectListed(
  view: SnapshotView,
  fromBlockIndex: number,
  countMax: number,
): Promise<number[]> {
  const found: number[] = [];
  let pageIndex = Math.floor(fromBlockIndex / PAGE_BLOCKS);
  for (; pageIndex < view.volumeSizeGib && found.length < countMax; pageIndex++) {
    if (view.pageReference(pageIndex) === undefined) continue;
    const page = await view.page(pageIndex);
    if (page === undefined) continue;
    const end = Math.min(page.rowCount, lowerBound(page, fromBlockIndex) + countMax - found.length);
    for (let row = lowerBound(page, fromBlockIndex); row < end; row++) found.push(page.blockIndexAt(row));
  }
  return found;
}
