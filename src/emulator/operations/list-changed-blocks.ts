import { BLOCK_BYTES } from '../../ebs/constants.js';
import { Constraints } from '../constraints.js';
import { Reason, invalid } from '../errors.js';
import { compareSnapshots, type ChangedBlock } from '../store/compare-snapshots.js';
import { jsonAnswer, type ApiAnswer, type ApiRequest, type OperationContext } from './operation.js';
import { nextTokenOf, pageExpiryMs, planPage, readPageFields, type PageFields } from './paging.js';

/**
 * [ebs: ListChangedBlocks] A page covers as many candidates, blocks that are listed in either snapshot, as it may
 * have results; those that did not change are left out. So empty pages with a NextToken are common.
 */
export async function listChangedBlocks(context: OperationContext, request: ApiRequest): Promise<ApiAnswer> {
  const secondId = request.route.snapshotId;
  const constraints = new Constraints();
  constraints.snapshotId('secondSnapshotId', secondId);
  const firstId = request.query.get('firstSnapshotId') ?? undefined;
  constraints.required('firstSnapshotId', firstId);
  constraints.snapshotId('firstSnapshotId', firstId);
  const fields = readPageFields(request.query, constraints);
  constraints.verify();
  return answerChanges(context, request, fields, { firstId: firstId ?? '', secondId });
}

interface SnapshotPair {
  readonly firstId: string;
  readonly secondId: string;
}

async function answerChanges(
  context: OperationContext,
  request: ApiRequest,
  fields: PageFields,
  { firstId, secondId }: SnapshotPair,
): Promise<ApiAnswer> {
  const first = await context.snapshots.readableView(firstId);
  const second = await context.snapshots.readableView(secondId);
  if (!(await context.snapshots.areRelated(firstId, secondId)))
    throw invalid(Reason.UnrelatedSnapshots, `The snapshots '${firstId}' and '${secondId}' are not related.`);
  const listing = `changed ${firstId} ${secondId}`;
  const { fromBlockIndex, resultsMax, empty } = planPage(context, request, listing, fields);
  const candidatesMax = empty ? 0 : resultsMax;
  const { changed, nextBlockIndex } = await compareSnapshots(first, second, fromBlockIndex, candidatesMax);
  const expiryMs = pageExpiryMs(context, fromBlockIndex);
  const blocks = writeBlocks(context, { firstId, secondId, changed, expiryMs });
  const nextToken = nextTokenOf(
    context,
    listing,
    nextBlockIndex === undefined ? undefined : { nextBlockIndex, afterEmptyPage: empty },
  );
  return jsonAnswer(
    200,
    `{"BlockSize":${BLOCK_BYTES},"ChangedBlocks":[${blocks.join(',')}],"ExpiryTime":${expiryMs / 1000},` +
      `"NextToken":${JSON.stringify(nextToken)},"VolumeSize":${second.volumeSizeGib}}`,
  );
}

interface ChangedPage extends SnapshotPair {
  readonly changed: readonly ChangedBlock[];
  readonly expiryMs: number;
}

/** A token is null where its snapshot does not list the block. [ebs: Wire format / explicit nulls] */
function writeBlocks(context: OperationContext, page: ChangedPage): string[] {
  const issue = (snapshotId: string, side: 'inFirst' | 'inSecond'): Map<number, string> => {
    const indexes = page.changed.filter((block) => block[side]).map((block) => block.blockIndex);
    const tokens = context.blockTokens.issue(snapshotId, indexes, page.expiryMs);
    return new Map(indexes.map((index, at) => [index, tokens[at] ?? '']));
  };
  const firstTokens = issue(page.firstId, 'inFirst');
  const secondTokens = issue(page.secondId, 'inSecond');
  return page.changed.map(({ blockIndex }) =>
    JSON.stringify({
      BlockIndex: blockIndex,
      FirstBlockToken: firstTokens.get(blockIndex) ?? null,
      SecondBlockToken: secondTokens.get(blockIndex) ?? null,
    }),
  );
}
