import type { Readable } from 'node:stream';
import {
  CompleteSnapshotCommand,
  GetSnapshotBlockCommand,
  ListChangedBlocksCommand,
  ListSnapshotBlocksCommand,
  PutSnapshotBlockCommand,
  StartSnapshotCommand,
  type EBSClient,
} from '@aws-sdk/client-ebs';
import { readBlockBody } from './block-body.js';
import { WATCHED_STEP, watchAnswers } from './watched-answers.js';
import type { CallRunner } from './call-runner.js';
import { BLOCK_BYTES, CHECKSUM_AGGREGATION, CHECKSUM_ALGORITHM } from './constants.js';
import { EbsOperation } from './errors.js';
import {
  blockPageOf,
  changedBlockPageOf,
  positionParameters,
  snapshotStatusOf,
  startedSnapshotOf,
} from './sdk-mapping.js';
import type {
  BlockPage,
  CallOptions,
  ChangedBlockPage,
  CompleteSnapshotRequest,
  GetSnapshotBlockRequest,
  ListChangedBlocksRequest,
  ListSnapshotBlocksRequest,
  PutSnapshotBlockRequest,
  ReceivedBlock,
  SnapshotApi,
  SnapshotStatus,
  StartedSnapshot,
  StartSnapshotRequest,
} from './snapshot-api.js';

/** The six operations as commands of the SDK; see `createSdkSnapshotApi`. */
export class SdkSnapshotApi implements SnapshotApi {
  readonly #client: EBSClient;
  readonly #calls: CallRunner;

  constructor(client: EBSClient, calls: CallRunner) {
    this.#client = client;
    this.#calls = calls;
    client.middlewareStack.add(watchAnswers(calls), WATCHED_STEP);
  }

  listSnapshotBlocks(request: ListSnapshotBlocksRequest, options?: CallOptions): Promise<BlockPage> {
    const { snapshotId } = request;
    const subject = this.#calls.subject({ operation: EbsOperation.ListSnapshotBlocks, snapshotId });
    const command = new ListSnapshotBlocksCommand({ SnapshotId: snapshotId, ...positionParameters(request) });
    return this.#calls.run(subject, options, async (abortSignal) =>
      blockPageOf(await this.#client.send(command, { abortSignal }), subject()),
    );
  }

  listChangedBlocks(request: ListChangedBlocksRequest, options?: CallOptions): Promise<ChangedBlockPage> {
    const { firstSnapshotId, secondSnapshotId } = request;
    const subject = this.#calls.subject({
      operation: EbsOperation.ListChangedBlocks,
      snapshotId: secondSnapshotId,
      otherSnapshotId: firstSnapshotId,
    });
    const command = new ListChangedBlocksCommand({
      FirstSnapshotId: firstSnapshotId,
      SecondSnapshotId: secondSnapshotId,
      ...positionParameters(request),
    });
    return this.#calls.run(subject, options, async (abortSignal) =>
      changedBlockPageOf(await this.#client.send(command, { abortSignal }), subject()),
    );
  }

  getSnapshotBlock(request: GetSnapshotBlockRequest, options?: CallOptions): Promise<ReceivedBlock> {
    const { snapshotId, blockIndex } = request;
    const subject = this.#calls.subject({ operation: EbsOperation.GetSnapshotBlock, snapshotId, blockIndex });
    const command = new GetSnapshotBlockCommand({
      SnapshotId: snapshotId,
      BlockIndex: blockIndex,
      BlockToken: request.blockToken,
    });
    return this.#calls.run(subject, options, async (abortSignal) => {
      const answer = await this.#client.send(command, { abortSignal });
      return {
        bytes: await readBlockBody(answer.BlockData as Readable, abortSignal, subject),
        declaredLengthBytes: answer.DataLength,
        checksum: answer.Checksum,
        checksumAlgorithm: answer.ChecksumAlgorithm,
      };
    });
  }

  startSnapshot(request: StartSnapshotRequest, options?: CallOptions): Promise<StartedSnapshot> {
    const { parentSnapshotId } = request;
    const subject = this.#calls.subject({
      operation: EbsOperation.StartSnapshot,
      otherSnapshotId: parentSnapshotId,
    });
    const command = new StartSnapshotCommand({
      VolumeSize: request.volumeSizeGib,
      ParentSnapshotId: parentSnapshotId,
      Description: request.description,
      Tags: request.tags && Object.entries(request.tags).map(([Key, Value]) => ({ Key, Value })),
      ClientToken: request.clientToken,
      Encrypted: request.encrypted,
      KmsKeyArn: request.kmsKeyArn,
      Timeout: request.timeoutMinutes,
    });
    return this.#calls.run(subject, options, async (abortSignal) =>
      startedSnapshotOf(await this.#client.send(command, { abortSignal }), subject()),
    );
  }

  putSnapshotBlock(request: PutSnapshotBlockRequest, options?: CallOptions): Promise<void> {
    const { snapshotId, blockIndex } = request;
    const subject = this.#calls.subject({ operation: EbsOperation.PutSnapshotBlock, snapshotId, blockIndex });
    const command = new PutSnapshotBlockCommand({
      SnapshotId: snapshotId,
      BlockIndex: blockIndex,
      BlockData: request.bytes,
      DataLength: BLOCK_BYTES,
      Checksum: request.checksum,
      ChecksumAlgorithm: CHECKSUM_ALGORITHM,
      Progress: request.progressPercent,
    });
    return this.#calls.run(subject, options, async (abortSignal) => {
      await this.#client.send(command, { abortSignal });
    });
  }

  completeSnapshot(request: CompleteSnapshotRequest, options?: CallOptions): Promise<SnapshotStatus> {
    const { snapshotId, checksum } = request;
    const subject = this.#calls.subject({ operation: EbsOperation.CompleteSnapshot, snapshotId });
    const linear = {
      ChecksumAlgorithm: CHECKSUM_ALGORITHM,
      ChecksumAggregationMethod: CHECKSUM_AGGREGATION,
    } as const;
    const command = new CompleteSnapshotCommand({
      SnapshotId: snapshotId,
      ChangedBlocksCount: request.changedBlocksCount,
      ...(checksum === undefined ? {} : { Checksum: checksum, ...linear }),
    });
    return this.#calls.run(subject, options, async (abortSignal) =>
      snapshotStatusOf((await this.#client.send(command, { abortSignal })).Status, subject()),
    );
  }

  close(): void {
    this.#client.destroy();
  }
}
