import { BLOCK_BYTES, VOLUME_SIZE_MAX_GIB } from './constants.js';
import { answerError } from './error-map.js';
import type { CallSubject } from './error-text.js';
import { EbsErrorKind } from './errors.js';
import {
  SnapshotStatus,
  type BlockPage,
  type ChangedBlock,
  type ChangedBlockPage,
  type ListedBlock,
  type PagePosition,
  type StartedSnapshot,
} from './snapshot-api.js';

// The service's answers in its own names, as far as they are used; any of them may be missing.

interface ListAnswer {
  readonly BlockSize?: number | undefined;
  readonly ExpiryTime?: Date | undefined;
  readonly NextToken?: string | undefined;
  readonly VolumeSize?: number | undefined;
}

interface BlockEntry {
  readonly BlockIndex?: number | undefined;
  readonly BlockToken?: string | undefined;
}

interface ChangedBlockEntry {
  readonly BlockIndex?: number | undefined;
  readonly FirstBlockToken?: string | undefined;
  readonly SecondBlockToken?: string | undefined;
}

interface StartAnswer {
  readonly SnapshotId?: string | undefined;
  readonly Status?: string | undefined;
  readonly VolumeSize?: number | undefined;
  readonly ParentSnapshotId?: string | undefined;
  readonly KmsKeyArn?: string | undefined;
}

/** The parameters that place a page. [ebs: ListSnapshotBlocks] MaxResults has no documented default. */
export function positionParameters(position: PagePosition): {
  MaxResults: number;
  StartingBlockIndex: number | undefined;
  NextToken: string | undefined;
} {
  return {
    MaxResults: position.resultsMax,
    StartingBlockIndex: position.pageToken === undefined ? position.startingBlockIndex : undefined,
    NextToken: position.pageToken,
  };
}

/** @throws {EbsError} when the answer is not one of ListSnapshotBlocks. */
export function blockPageOf(
  answer: ListAnswer & { readonly Blocks?: readonly BlockEntry[] | undefined },
  subject: CallSubject,
): BlockPage {
  const head = pageHeadOf(answer, subject);
  const blocks: ListedBlock[] = [];
  for (const entry of answer.Blocks ?? []) {
    const blockToken = entry.BlockToken ?? '';
    if (blockToken === '') throw malformed(subject, 'a listed block has no token');
    blocks.push({ blockIndex: indexOf(entry.BlockIndex, subject), blockToken });
  }
  return { ...head, blocks };
}

/** @throws {EbsError} when the answer is not one of ListChangedBlocks. */
export function changedBlockPageOf(
  answer: ListAnswer & { readonly ChangedBlocks?: readonly ChangedBlockEntry[] | undefined },
  subject: CallSubject,
): ChangedBlockPage {
  const head = pageHeadOf(answer, subject);
  const blocks: ChangedBlock[] = [];
  for (const entry of answer.ChangedBlocks ?? []) {
    const blockIndex = indexOf(entry.BlockIndex, subject);
    const firstBlockToken = presentText(entry.FirstBlockToken);
    const secondBlockToken = presentText(entry.SecondBlockToken);
    blocks.push({ blockIndex, firstBlockToken, secondBlockToken });
  }
  return { ...head, blocks };
}

/** @throws {EbsError} when the answer is not one of StartSnapshot. */
export function startedSnapshotOf(answer: StartAnswer, subject: CallSubject): StartedSnapshot {
  const snapshotId = presentText(answer.SnapshotId);
  if (snapshotId === undefined) throw malformed(subject, 'the answer has no SnapshotId');
  return {
    snapshotId,
    status: snapshotStatusOf(answer.Status, subject),
    volumeSizeGib: volumeSizeOf(answer.VolumeSize, subject),
    parentSnapshotId: presentText(answer.ParentSnapshotId),
    kmsKeyArn: presentText(answer.KmsKeyArn),
  };
}

/** @throws {EbsError} when it is not a status that the service documents. */
export function snapshotStatusOf(status: string | undefined, subject: CallSubject): SnapshotStatus {
  const known = Object.values(SnapshotStatus).find((value) => value === status);
  if (known === undefined) throw malformed(subject, `the answer has the status "${status ?? ''}"`);
  return known;
}

function pageHeadOf(
  answer: ListAnswer,
  subject: CallSubject,
): { expiryMs: number; volumeSizeGib: number; nextToken: string | undefined } {
  if (answer.BlockSize !== undefined && answer.BlockSize !== BLOCK_BYTES) {
    const reason = `the service uses blocks of ${answer.BlockSize} bytes, not ${BLOCK_BYTES}`;
    throw answerError(EbsErrorKind.ContractViolation, subject, reason);
  }
  const expiryMs = answer.ExpiryTime?.getTime() ?? Number.POSITIVE_INFINITY;
  if (Number.isNaN(expiryMs)) throw malformed(subject, 'the ExpiryTime is not a time');
  const volumeSizeGib = volumeSizeOf(answer.VolumeSize, subject);
  return { expiryMs, volumeSizeGib, nextToken: presentText(answer.NextToken) };
}

function volumeSizeOf(sizeGib: number | undefined, subject: CallSubject): number {
  if (sizeGib === undefined || !Number.isInteger(sizeGib) || sizeGib < 1 || sizeGib > VOLUME_SIZE_MAX_GIB) {
    throw malformed(subject, `the VolumeSize is ${sizeGib ?? 'missing'}`);
  }
  return sizeGib;
}

function indexOf(blockIndex: number | undefined, subject: CallSubject): number {
  if (blockIndex === undefined || !Number.isInteger(blockIndex) || blockIndex < 0) {
    throw malformed(subject, `a BlockIndex is ${blockIndex ?? 'missing'}`);
  }
  return blockIndex;
}

// The service writes an explicit null for what is absent; an empty text would mean the same.
function presentText(text: string | null | undefined): string | undefined {
  return text === null || text === '' ? undefined : text;
}

function malformed(subject: CallSubject, reason: string): Error {
  return answerError(EbsErrorKind.MalformedAnswer, subject, reason);
}
