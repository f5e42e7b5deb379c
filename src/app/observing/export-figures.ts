import type { BlockDevice } from '../../device/block-device.js';
import type { BlockFigures, CommandFigures, ExportFigures, ForkFigures } from '../../http/status-document.js';
import type { ExportTraffic } from '../../nbd/traffic.js';
import { commandName } from '../../nbd/transmission-constants.js';
import { SnapshotDevice } from '../../snapshot/snapshot-device.js';
import type { Fork } from '../../writer/fork.js';
import { statusOf } from '../../writer/fork-status.js';
import type { RegisteredExport } from '../export-registry.js';

/** An export as {@link ExportFigures} has it, before it is explained and drawn. */
export type PlainFigures = Omit<ExportFigures, 'finding' | 'map'>;

/** The snapshot that a device is, or lies over. */
export function snapshotOf({ device, fork }: RegisteredExport): SnapshotDevice | undefined {
  const base: BlockDevice = fork?.device.base ?? device;
  if (base instanceof SnapshotDevice) return base;
  return 'snapshot' in base && base.snapshot instanceof SnapshotDevice ? base.snapshot : undefined;
}

/** Reads the figures of one export. */
export function exportFiguresOf(entry: RegisteredExport, clients: number, nowMs: number): PlainFigures {
  const { name, device, fork, traffic } = entry;
  const snapshot = snapshotOf(entry);
  const [oldest] = traffic?.waiting ?? [];
  const failure = traffic?.lastFailure;
  return {
    name,
    kind: fork !== undefined ? 'fork' : snapshot !== undefined ? 'snapshot' : 'device',
    description: device.description ?? '',
    sizeBytes: device.sizeBytes,
    isWritable: device.write !== undefined,
    clients,
    commands: traffic === undefined ? {} : commandFiguresOf(traffic),
    waitingCount: traffic?.waiting.size ?? 0,
    oldestWaiting:
      oldest === undefined
        ? null
        : {
            command: commandName(oldest.type),
            offset: oldest.offset,
            lengthBytes: oldest.lengthBytes,
            ageSeconds: (nowMs - oldest.startMs) / 1000,
          },
    lastFailure:
      failure === undefined
        ? null
        : {
            command: commandName(failure.type),
            reason: failure.reason,
            ageSeconds: (nowMs - failure.atMs) / 1000,
          },
    blocks: snapshot === undefined ? null : blockFiguresOf(snapshot),
    fork: fork === undefined ? null : forkFiguresOf(fork),
  };
}

function commandFiguresOf(traffic: ExportTraffic): Record<string, CommandFigures> {
  const figures: Record<string, CommandFigures> = {};
  for (const [type, { requests, failures, bytes, latency }] of traffic.commands()) {
    figures[type === undefined ? 'UNKNOWN' : commandName(type)] = {
      requests,
      failures,
      bytes,
      seconds: latency.sumMs / 1000,
      buckets: [...latency.counts],
    };
  }
  return figures;
}

function blockFiguresOf({ counts }: SnapshotDevice): BlockFigures {
  const { relativeHits } = counts;
  const { memoryHits, diskHits, holeHits, misses, gets, fetching, refusedTokens, lists, tokenBytes } = counts;
  return {
    ...{ memoryHits, diskHits, holeHits, misses, fetching, refusedTokens, lists, tokenBytes },
    relativeHits,
    fetched: gets,
  };
}

function forkFiguresOf({ store, progress }: Fork): ForkFigures {
  const status = statusOf(store.state);
  return {
    state: status.state,
    baseSnapshotId: status.baseSnapshotId,
    stagedBytes: status.stagedBytes,
    putBlocks: status.putBlockCount,
    pendingSnapshotId: status.pendingSnapshotId,
    lastCommitSnapshotId: status.lastCommitSnapshotId,
    lastFlushAt: status.lastFlushAt,
    commit:
      progress === undefined
        ? null
        : { step: progress.step, putBlocks: progress.putCount, dueBlocks: progress.dueCount },
    failure: store.failure?.message ?? null,
  };
}
