import { BLOCK_BYTES } from '../ebs/constants.js';
import { assert } from '../util/assert.js';
import { joinWishes, JOURNAL_VERSION, type ForkOrigin, type LastCommit } from './fork-facts.js';
import { RecordType, type JournalRecord } from './journal-record.js';
import { Layer } from './layer.js';
import { PutState } from './put-table.js';

/**
 * All that a journal says of a fork. Memory follows what is applied to it, record by record, both when a journal is read
 * and when the fork is in use.
 */
export class ForkState {
  #origin: ForkOrigin | undefined;
  #active: Layer | undefined;
  #frozen: Layer | undefined;
  #lastCommit: LastCommit | undefined;
  #lastFlushMs: number | undefined;

  /** @throws {RangeError} before the journal's first record. */
  get origin(): ForkOrigin {
    if (this.#origin === undefined) throw new RangeError('no beginning');
    return this.#origin;
  }

  /** The layer that takes changes. */
  get active(): Layer {
    if (this.#active === undefined) throw new RangeError('no layer');
    return this.#active;
  }

  /** The layer that is becoming a snapshot. */
  get frozen(): Layer | undefined {
    return this.#frozen;
  }

  get lastCommit(): LastCommit | undefined {
    return this.#lastCommit;
  }

  /** Milliseconds since 1970. */
  get lastFlushMs(): number | undefined {
    return this.#lastFlushMs;
  }

  /** The snapshot beneath the layers; undefined: zeros. */
  get baseSnapshotId(): string | undefined {
    return this.#lastCommit?.snapshotId ?? this.origin.originSnapshotId ?? undefined;
  }

  /** Pages of 4 KiB that the data files take. */
  get allocatedPageCount(): number {
    return this.active.map.allocatedPageCount + (this.#frozen?.map.allocatedPageCount ?? 0);
  }

  /** @throws {RangeError} when the record makes no sense here. */
  apply(record: JournalRecord): void {
    switch (record.type) {
      case RecordType.Origin:
        this.#begin(record.origin);
        break;
      case RecordType.Write:
        this.active.write(record.start, record.count);
        break;
      case RecordType.Clear:
        this.active.clear(record.start, record.count);
        break;
      case RecordType.Owe: {
        const { puts } = this.layer(record.layerId);
        for (let block = record.startBlock; block < record.endBlock; block += 1) puts.owe(block);
        break;
      }
      case RecordType.Put:
        this.layer(record.layerId).puts.put(record.block, record.digest);
        break;
      case RecordType.Layer:
        this.#addLayer(record);
        break;
      case RecordType.Pending:
        this.layer(record.layerId).setPending(record.pending);
        break;
      case RecordType.Committed:
        this.#lastCommit = record.commit;
        if (this.#frozen?.pending?.snapshotId === record.commit.snapshotId) this.#frozen = undefined;
        break;
      case RecordType.Blocks:
        this.layer(record.layerId).map.restoreRun(record.startBlock, record.endBlock, record.state);
        break;
      case RecordType.Detail:
        this.layer(record.layerId).map.restoreDetail(record.block, record);
        break;
      case RecordType.CheckpointEnd:
        assert(this.#active !== undefined, 'a checkpoint has a layer');
        break;
      case RecordType.Restore:
        this.active.restore(record.start, record.count, record.state);
        break;
      case RecordType.Data:
      case RecordType.Synced:
        // About the data files alone.
        break;
      case RecordType.Flushed:
        this.#lastFlushMs = record.dateMs;
        break;
    }
  }

  /** @throws {RangeError} when there is no such layer. */
  layer(layerId: number): Layer {
    if (this.#active?.id === layerId) return this.#active;
    if (this.#frozen?.id === layerId) return this.#frozen;
    throw new RangeError(`layer ${layerId}, which is not there`);
  }

  /** Records from which all of this follows. */
  *checkpoint(): Generator<JournalRecord, void> {
    yield { type: RecordType.Origin, origin: this.origin };
    if (this.#lastCommit !== undefined) yield { type: RecordType.Committed, commit: this.#lastCommit };
    if (this.#lastFlushMs !== undefined) yield { type: RecordType.Flushed, dateMs: this.#lastFlushMs };
    if (this.#frozen !== undefined) yield* layerRecords(this.#frozen, undefined);
    yield* layerRecords(this.active, this.#frozen);
  }

  #begin(origin: ForkOrigin): void {
    if (origin.version !== JOURNAL_VERSION) throw new RangeError(`version ${origin.version}`);
    if (origin.sizeBytes % BLOCK_BYTES !== 0) throw new RangeError(`a disk of ${origin.sizeBytes} bytes`);
    this.#origin = origin;
  }

  // An append that was cut off may be made again in whole, so what is known already changes nothing.
  #addLayer(record: Extract<JournalRecord, { readonly type: typeof RecordType.Layer }>): void {
    if (this.#active !== undefined && record.layerId <= this.#active.id) return;
    if (this.#frozen !== undefined) throw new RangeError('a third layer');
    this.#frozen = this.#active;
    if (this.#frozen !== undefined) this.#frozen.wishes = record.wishes ?? joinWishes(this.origin);
    this.#active = new Layer(record.layerId, this.origin.sizeBytes);
  }
}

function* layerRecords(layer: Layer, before: Layer | undefined): Generator<JournalRecord, void> {
  const layerId = layer.id;
  yield { type: RecordType.Layer, layerId, wishes: before?.wishes ?? null };
  for (const { startBlock, endBlock, state } of layer.map.blockRuns()) {
    if (state !== undefined) yield { type: RecordType.Blocks, layerId, startBlock, endBlock, state };
    else yield { type: RecordType.Detail, layerId, block: startBlock, ...layer.map.detailOf(startBlock) };
  }
  if (layer.pending !== undefined) yield { type: RecordType.Pending, layerId, pending: layer.pending };
  for (const block of layer.puts.blocks()) {
    if (layer.puts.get(block) === PutState.Put) {
      yield { type: RecordType.Put, layerId, block, digest: layer.puts.digestOf(block) };
    } else {
      yield { type: RecordType.Owe, layerId, startBlock: block, endBlock: block + 1 };
    }
  }
}
