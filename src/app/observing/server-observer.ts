import type { ApiFigures, ExportFigures, ServerFigures, StatusDocument } from '../../http/status-document.js';
import { STATUS_VERSION } from '../../http/status-document.js';
import type { BlockCache } from '../../snapshot/block-cache.js';
import type { DiskCache } from '../../snapshot/disk/disk-cache.js';
import type { Clock } from '../../util/clock.js';
import { LATENCY_BOUNDS_MS, type LatencyHistogram } from '../../util/latency-histogram.js';
import { ForkMap } from '../../writer/fork-map.js';
import type { Fork } from '../../writer/fork.js';
import type { ApiConnection } from '../api-connection.js';
import type { RegisteredExport } from '../export-registry.js';
import { findingOf } from './explain.js';
import { exportFiguresOf, snapshotOf } from './export-figures.js';
import { mapFiguresOf } from './map-figures.js';

/** The parts of a server that are looked at. */
export interface ObservedServer {
  /** The exports at present. */
  readonly exports: () => readonly RegisteredExport[];
  readonly userCountOf: (exportName: string) => number;
  readonly connectionCount: () => number;
  readonly cache: BlockCache;
  readonly disk?: DiskCache | undefined;
  readonly connection?: ApiConnection | undefined;
}

/** However many look, the figures are put together twice a second at most. */
const REUSE_MS = 500;

const BOUNDS_SECONDS = LATENCY_BOUNDS_MS.map((boundMs) => boundMs / 1000);

/** Reads the figures of a server when somebody asks for them: between two questions it does nothing at all. */
export class ServerObserver implements ServerFigures {
  state: StatusDocument['server']['state'] = 'starting';
  /** Whether files can be walked through. */
  hasFiles = false;
  readonly #clock: Clock;
  readonly #version: string;
  readonly #startedAt: string;
  readonly #startMs: number;
  #server: ObservedServer | undefined;
  readonly #forkMaps = new WeakMap<Fork, ForkMap>();
  #made: { readonly key: string; readonly atMs: number; readonly status: StatusDocument } | undefined;

  constructor(clock: Clock, version: string) {
    this.#clock = clock;
    this.#version = version;
    this.#startMs = clock.nowMs();
    this.#startedAt = new Date(clock.dateMs()).toISOString();
  }

  /** Begins to look at a server. */
  observe(server: ObservedServer): void {
    this.#server = server;
  }

  status(maps: ReadonlySet<string> = new Set()): StatusDocument {
    const nowMs = this.#clock.nowMs();
    const key = JSON.stringify([this.state, ...maps]);
    if (this.#made?.key === key && nowMs - this.#made.atMs < REUSE_MS) return this.#made.status;
    const status = this.#statusOf(maps, nowMs);
    this.#made = { key, atMs: nowMs, status };
    return status;
  }

  #statusOf(maps: ReadonlySet<string>, nowMs: number): StatusDocument {
    const cpu = process.cpuUsage();
    const server = this.#server;
    const disk = server?.disk;
    return {
      version: STATUS_VERSION,
      server: {
        state: this.state,
        version: this.#version,
        startedAt: this.#startedAt,
        uptimeSeconds: (nowMs - this.#startMs) / 1000,
        cpuSeconds: (cpu.user + cpu.system) / 1e6,
        residentBytes: process.memoryUsage.rss(),
        clients: server?.connectionCount() ?? 0,
        hasFiles: this.hasFiles,
      },
      latencyBoundsSeconds: BOUNDS_SECONDS,
      api: server?.connection === undefined ? null : apiFiguresOf(server.connection, nowMs),
      cache: {
        memoryBytes: server?.cache.sizeBytes ?? 0,
        memoryBytesMax: server?.cache.bytesMax ?? 0,
        memoryBlocks: server?.cache.blockCount ?? 0,
        disk:
          disk === undefined
            ? null
            : { blocksMax: disk.blocksMax, ...disk.counts, pauseReason: disk.pauseReason ?? null },
      },
      exports:
        server === undefined
          ? []
          : server.exports().map((entry) => this.#exportOf(entry, server, maps, nowMs)),
    };
  }

  #exportOf(
    entry: RegisteredExport,
    server: ObservedServer,
    maps: ReadonlySet<string>,
    nowMs: number,
  ): ExportFigures {
    const { connection, disk } = server;
    const plain = exportFiguresOf(entry, server.userCountOf(entry.name), nowMs);
    const snapshot = snapshotOf(entry);
    const finding = findingOf({
      figures: plain,
      snapshotId: snapshot?.snapshotId,
      calls: connection?.figures,
      waitingForPlace: connection?.limiter.waitingCount ?? 0,
      inFlightMax: connection?.limiter.inFlightMax ?? 0,
      costBoundUsd: connection?.meter.hasRefused === true ? connection.meter.maxUsd : undefined,
      diskPause: disk?.pauseReason,
      nowMs,
    });
    const map = maps.has(entry.name) ? mapFiguresOf(snapshot, this.#forkMapOf(entry.fork)) : undefined;
    return { ...plain, finding, ...(map === undefined ? {} : { map }) };
  }

  #forkMapOf(fork: Fork | undefined): ForkMap | undefined {
    if (fork === undefined) return undefined;
    const map = this.#forkMaps.get(fork) ?? new ForkMap(fork.device.sizeBytes);
    this.#forkMaps.set(fork, map);
    map.refresh(fork.store.state);
    return map;
  }
}

function apiFiguresOf({ figures, meter, limiter }: ApiConnection, nowMs: number): ApiFigures {
  const { calls, bytesRead, bytesWritten, usd } = meter.usage;
  const [oldest] = figures.underWay;
  const used = Object.entries(figures.latency).filter(([, latency]) => latency.count > 0);
  return {
    calls,
    latency: Object.fromEntries(used.map(([operation, latency]) => [operation, latencyFiguresOf(latency)])),
    failures: Object.fromEntries(figures.failures),
    bytesRead,
    bytesWritten,
    usd,
    usdMax: meter.maxUsd ?? null,
    isCostBoundReached: meter.hasRefused,
    underWay: figures.underWay.size,
    oldestSeconds: oldest === undefined ? 0 : (nowMs - oldest.startMs) / 1000,
    inFlightMax: limiter.inFlightMax,
    waitingForPlace: limiter.waitingCount,
    retries: figures.retries,
    throttled: figures.throttled.count,
    failing: figures.failing.count,
  };
}

function latencyFiguresOf({ sumMs, counts }: LatencyHistogram): {
  seconds: number;
  buckets: readonly number[];
} {
  return { seconds: sumMs / 1000, buckets: [...counts] };
}
