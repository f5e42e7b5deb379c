import { createHash } from 'node:crypto';
import { BLOCK_BYTES, VOLUME_SIZE_MAX_GIB } from '../../ebs/constants.js';
import { checkAuthorization } from '../authorization.js';
import { Reason, invalid, snapshotNotFound } from '../errors.js';
import { newMetadata, type SnapshotMetadata } from '../store/metadata.js';
import { newSnapshotId } from '../store/snapshot-id.js';
import { jsonAnswer, type ApiAnswer, type ApiRequest, type OperationContext } from './operation.js';
import { parseStartRequest, type StartRequest } from './start-request.js';

/** The account that every snapshot belongs to. */
export const OWNER_ID = '123456789012';

/** The key of snapshots that are encrypted without naming one. */
export const DEFAULT_KMS_KEY_ARN = `arn:aws:kms:us-east-1:${OWNER_ID}:key/00000000-0000-4000-8000-000000000000`;

/** Room for 50 tags, a description and a key. */
const BODY_MAX_BYTES = 256 * 1024;

/** [ebs: StartSnapshot] */
export async function startSnapshot(context: OperationContext, request: ApiRequest): Promise<ApiAnswer> {
  const start = parseStartRequest(await request.readText(BODY_MAX_BYTES));
  const { region } = checkAuthorization(request.header);
  const metadata = await context.snapshots.start(await describe(context, start, region));
  const tags = Object.entries(metadata.tags).map(([Key, Value]) => ({ Key, Value }));
  return jsonAnswer(
    201,
    JSON.stringify({
      BlockSize: BLOCK_BYTES,
      Description: metadata.description,
      KmsKeyArn: metadata.kmsKeyArn,
      OwnerId: OWNER_ID,
      ParentSnapshotId: metadata.parentSnapshotId,
      SnapshotId: metadata.snapshotId,
      StartTime: metadata.startTimeMs / 1000,
      Status: metadata.state,
      Tags: tags.length === 0 ? null : tags,
      VolumeSize: metadata.volumeSizeGib,
    }),
  );
}

async function describe(
  context: OperationContext,
  start: StartRequest,
  region: string,
): Promise<SnapshotMetadata> {
  checkEncryption(start);
  if (start.volumeSizeGib > VOLUME_SIZE_MAX_GIB)
    throw invalid(Reason.InvalidVolumeSize, `The volume size must be at most ${VOLUME_SIZE_MAX_GIB} GiB.`);
  const parent =
    start.parentSnapshotId === null ? null : await readableParent(context, start.parentSnapshotId);
  if (parent !== null && start.volumeSizeGib < parent.volumeSizeGib) {
    throw invalid(
      Reason.InvalidVolumeSize,
      `The volume size must be at least the parent snapshot's, ${parent.volumeSizeGib} GiB.`,
    );
  }
  const snapshotId = newSnapshotId();
  return {
    ...newMetadata(snapshotId, start.volumeSizeGib, context.clock.dateMs()),
    parentSnapshotId: start.parentSnapshotId,
    lineageRootId: parent?.lineageRootId ?? snapshotId,
    description: start.description,
    tags: start.tags,
    kmsKeyArn: keyOf(start, parent, context.account.isEncryptedByDefault(region)),
    timeoutMinutes: start.timeoutMinutes,
    clientToken: start.clientToken,
    requestDigest: digestOf(start),
  };
}

/** [ebs: StartSnapshot / encryption parameters] */
function checkEncryption({ parentSnapshotId, encrypted, kmsKeyArn }: StartRequest): void {
  if (parentSnapshotId !== null && (encrypted !== null || kmsKeyArn !== null)) {
    throw invalid(
      Reason.InvalidParameterValue,
      'Encrypted and KmsKeyArn must not be specified together with ParentSnapshotId.',
    );
  }
  if (encrypted === false && kmsKeyArn !== null)
    throw invalid(
      Reason.InvalidParameterValue,
      'KmsKeyArn must not be specified for an unencrypted snapshot.',
    );
}

/**
 * A child has its parent's key; a key alone encrypts; Encrypted alone takes the account's default key, and so does
 * everything else where the account encrypts by default.
 */
function keyOf(
  start: StartRequest,
  parent: SnapshotMetadata | null,
  isEncryptedByDefault: boolean,
): string | null {
  if (parent !== null) return parent.kmsKeyArn;
  const isEncrypted = start.encrypted === true || isEncryptedByDefault;
  return start.kmsKeyArn ?? (isEncrypted ? DEFAULT_KMS_KEY_ARN : null);
}

/** [ebs: StartSnapshot / the parent must be completed and readable] */
async function readableParent(context: OperationContext, parentId: string): Promise<SnapshotMetadata> {
  const parent = await context.snapshots.find(parentId);
  if (parent === undefined) throw snapshotNotFound(parentId);
  if (!context.snapshots.isReadable(parent))
    throw invalid(Reason.InvalidSnapshotId, `Source snapshot (${parentId}) is not complete.`);
  return parent;
}

/** The same for two requests that ask for the same, whatever their client tokens. */
function digestOf({ clientToken: _, ...asked }: StartRequest): string {
  const tags = Object.entries(asked.tags).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([asked.volumeSizeGib, asked.parentSnapshotId, asked.description, tags]))
    .update(JSON.stringify([asked.encrypted, asked.kmsKeyArn, asked.timeoutMinutes]))
    .digest('base64');
}
