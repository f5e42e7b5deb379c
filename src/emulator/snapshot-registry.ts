import type { Clock } from '../util/clock.js';
import type { Logger } from '../util/logger.js';
import { Completions } from './completions.js';
import { Reason, invalid, serviceError, snapshotNotFound } from './errors.js';
import type { FaultSettings } from './faults/settings.js';
import { PendingTable } from './pending-table.js';
import type { BlockContents } from './store/block-reader.js';
import { mayHaveLostWrites, noteSynchronised, noteWriting } from './store/boot.js';
import {
  SnapshotOrigin,
  SnapshotState,
  type CompletionRequest,
  type SnapshotMetadata,
} from './store/metadata.js';
import type { BlockPut } from './store/pending-blocks.js';
import { PendingSnapshot } from './store/pending-snapshot.js';
import { publishMetadata } from './store/snapshot-builder.js';
import type { SnapshotReader } from './store/snapshot-reader.js';
import type { SnapshotView } from './store/snapshot-view.js';
import { removeAbandoned } from './store/temporary.js';

/** [ebs: Quotas / pending snapshots per account] */
export const PENDING_MAX = 100;

export interface RegistryOptions {
  readonly reader: SnapshotReader;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: () => FaultSettings;
}

/** The life of snapshots, from StartSnapshot to being read, as the one server of a folder leads it. */
export class SnapshotRegistry {
  readonly #options: RegistryOptions;
  readonly #pending: PendingTable;
  readonly #clientTokens = new Map<string, string>();
  readonly #completions: Completions;
  /** The last StartSnapshot: they are handled one after another, so that a token is never used twice. */
  #starting: Promise<unknown> = Promise.resolve();

  private constructor(options: RegistryOptions) {
    this.#options = options;
    this.#pending = new PendingTable(options);
    this.#completions = new Completions({
      ...options,
      onSettled: (snapshot) => this.#pending.remove(snapshot),
    });
  }

  /** Takes up every pending snapshot where the last server left it. */
  static async open(options: RegistryOptions): Promise<SnapshotRegistry> {
    const registry = new SnapshotRegistry(options);
    const { reader, logger } = options;
    await removeAbandoned(reader.layout);
    const isDoubtful = await mayHaveLostWrites(reader.layout);
    for (const metadata of await reader.catalog.all()) {
      const { snapshotId, clientToken } = metadata;
      if (clientToken !== null) registry.#clientTokens.set(clientToken, snapshotId);
      if (metadata.state !== SnapshotState.Pending) continue;
      const snapshot = await PendingSnapshot.open(reader.layout, metadata);
      if (isDoubtful) {
        logger.warn('A pending snapshot is lost: the machine was restarted', { snapshotId });
        await snapshot.fail('the machine was restarted while it was pending');
        await snapshot.close();
        continue;
      }
      registry.#pending.add(snapshot);
      if (metadata.completion !== null) registry.#completions.begin(snapshot);
    }
    await noteWriting(reader.layout);
    registry.#pending.beginSweeping();
    return registry;
  }

  /** The view of a snapshot that can be read now. @throws {ApiError} 404 for every other one. */
  async readableView(snapshotId: string): Promise<SnapshotView> {
    const metadata = await this.#options.reader.catalog.find(snapshotId);
    if (metadata === undefined || !this.isReadable(metadata)) throw snapshotNotFound(snapshotId);
    return this.#options.reader.views.view(snapshotId);
  }

  /** [ebs: Reading / completed is not yet readable] Imported and synthetic snapshots are readable at once. */
  isReadable({ state, origin, completedAtMs }: SnapshotMetadata): boolean {
    if (state !== SnapshotState.Completed) return false;
    if (origin !== SnapshotOrigin.Api || completedAtMs === null) return true;
    return this.#options.clock.dateMs() >= completedAtMs + this.#options.settings().readableDelayMs;
  }

  /** True when two snapshots descend from the same one. [ebs: ListChangedBlocks / UNRELATED_SNAPSHOTS] */
  async areRelated(firstId: string, secondId: string): Promise<boolean> {
    const { catalog } = this.#options.reader;
    const [first, second] = await Promise.all([catalog.find(firstId), catalog.find(secondId)]);
    return first !== undefined && first.lineageRootId === second?.lineageRootId;
  }

  /** The contents of a block, or undefined when it is not listed. */
  readBlock(view: SnapshotView, blockIndex: number): Promise<BlockContents | undefined> {
    return this.#options.reader.blocks.read(view, blockIndex);
  }

  /** What is known of a snapshot, in whatever state. */
  async find(snapshotId: string): Promise<SnapshotMetadata | undefined> {
    await this.#pending.expire(snapshotId);
    return this.#pending.get(snapshotId)?.metadata ?? this.#options.reader.catalog.find(snapshotId);
  }

  /** Every snapshot, in whatever state, the oldest first. */
  async all(): Promise<SnapshotMetadata[]> {
    const known = await this.#options.reader.catalog.all();
    return known.map((metadata) => this.#pending.get(metadata.snapshotId)?.metadata ?? metadata);
  }

  /**
   * Makes a pending snapshot, unless its ClientToken was used before.
   *
   * @returns the new snapshot, or the one that was made with that token.
   * @throws {ApiError} when the token came with another request, or too many snapshots are pending.
   */
  start(metadata: SnapshotMetadata): Promise<SnapshotMetadata> {
    const mine = this.#starting.then(() => this.#start(metadata));
    this.#starting = mine.catch(() => undefined);
    return mine;
  }

  /** The snapshot that a put may go to. @throws {ApiError} 404, or 400 once it is complete. */
  async writable(snapshotId: string): Promise<SnapshotMetadata> {
    const metadata = await this.find(snapshotId);
    if (metadata === undefined || metadata.state === SnapshotState.Error) throw snapshotNotFound(snapshotId);
    // [ebs: PutSnapshotBlock / after completion]
    if (metadata.state === SnapshotState.Completed || metadata.completion !== null)
      throw invalid(Reason.InvalidSnapshotId, 'Snapshot is already completed');
    // [ebs: Writing / the first puts after StartSnapshot can get 404]
    const visibleAtMs = metadata.startTimeMs + this.#options.settings().startDelayMs;
    if (this.#options.clock.dateMs() < visibleAtMs) throw snapshotNotFound(snapshotId);
    return metadata;
  }

  /** Stores a block in a pending snapshot. @throws {ApiError} as {@link writable}. */
  async put(snapshotId: string, put: BlockPut): Promise<void> {
    await this.writable(snapshotId);
    const snapshot = this.#pending.get(snapshotId);
    if (snapshot === undefined) throw snapshotNotFound(snapshotId);
    await snapshot.blocks.put(put);
  }

  /**
   * Begins to complete a snapshot, unless that was done before. [ebs: CompleteSnapshot / asynchronous, idempotent]
   *
   * @returns its state now.
   * @throws {ApiError} 404 when there is no such snapshot.
   */
  async complete(snapshotId: string, completion: CompletionRequest): Promise<SnapshotState> {
    const metadata = await this.find(snapshotId);
    if (metadata === undefined) throw snapshotNotFound(snapshotId);
    const snapshot = this.#pending.get(snapshotId);
    if (snapshot === undefined) return metadata.state;
    await snapshot.requestCompletion(completion);
    this.#completions.begin(snapshot);
    return SnapshotState.Pending;
  }

  /**
   * Waits for what is under way, makes it durable and closes the files. A completion that waits is taken up by the
   * next server.
   */
  async close(): Promise<void> {
    await this.#starting;
    await this.#completions.close();
    await this.#pending.close();
    await noteSynchronised(this.#options.reader.layout);
  }

  async #start(metadata: SnapshotMetadata): Promise<SnapshotMetadata> {
    const { clientToken, requestDigest, snapshotId } = metadata;
    const known = clientToken === null ? undefined : this.#clientTokens.get(clientToken);
    if (known !== undefined) {
      const made = await this.find(known);
      // [ebs: StartSnapshot / ClientToken]
      if (made?.requestDigest === requestDigest) return made;
      throw serviceError(
        'ConflictException',
        `The client token '${clientToken ?? ''}' was used with other parameters.`,
      );
    }
    await this.#pending.expireAll();
    if (this.#pending.size >= PENDING_MAX) {
      throw serviceError(
        'ConcurrentLimitExceededException',
        `There are ${PENDING_MAX} pending snapshots, and no more are allowed.`,
      );
    }
    const { layout } = this.#options.reader;
    await publishMetadata(layout, metadata);
    this.#pending.add(await PendingSnapshot.open(layout, metadata));
    if (clientToken !== null) this.#clientTokens.set(clientToken, snapshotId);
    return metadata;
  }
}
