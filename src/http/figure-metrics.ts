import type { ApiFigures, ExportFigures, LatencyFigures, StatusDocument } from './status-document.js';

/** One value of a metric. */
export interface MetricValue {
  readonly value: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Where it differs from that of the metric. */
  readonly metricName?: string;
}

/** A metric whose values are read out of a status. */
export interface FigureMetric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  read(status: StatusDocument): readonly MetricValue[];
}

/** Exports with labels of their own; further ones are left out, and say so in `snapnbd_exports_unlabelled`. */
const EXPORTS_MAX = 200;
const LABEL_LENGTH_MAX = 128;

type ByExport = (figures: ExportFigures) => number | undefined;
type ByApi = (figures: ApiFigures) => Readonly<Record<string, number>> | number | undefined;

/** All metrics of a server. Their names and units are those of docs/METRICS.md. */
export function figureMetrics(): readonly FigureMetric[] {
  return [...serverMetrics(), ...cacheMetrics(), ...apiMetrics(), ...exportMetrics()];
}

function serverMetrics(): FigureMetric[] {
  const one = (name: string, help: string, read: (status: StatusDocument) => number): FigureMetric => ({
    name,
    help,
    type: 'gauge',
    read: (status) => [{ value: read(status), labels: {} }],
  });
  return [
    one('snapnbd_clients', 'Clients that are connected.', ({ server }) => server.clients),
    one('snapnbd_exports', 'Exports that are served.', (status) => status.exports.length),
    one(
      'snapnbd_exports_unlabelled',
      'Exports without metrics of their own, as there are too many.',
      (status) => Math.max(0, status.exports.length - EXPORTS_MAX),
    ),
    one('snapnbd_ready', '1 while clients can connect.', ({ server }) => (server.state === 'ready' ? 1 : 0)),
    one('snapnbd_uptime_seconds', 'Since the start.', ({ server }) => server.uptimeSeconds),
  ];
}

function cacheMetrics(): FigureMetric[] {
  const one = (
    name: string,
    type: FigureMetric['type'],
    help: string,
    read: (status: StatusDocument['cache']) => number | undefined,
  ): FigureMetric => ({
    name,
    help,
    type,
    read: ({ cache }) => {
      const value = read(cache);
      return value === undefined ? [] : [{ value, labels: {} }];
    },
  });
  return [
    one('snapnbd_memory_cache_bytes', 'gauge', 'Blocks in memory.', (cache) => cache.memoryBytes),
    one('snapnbd_memory_cache_max_bytes', 'gauge', 'Bound on them.', (cache) => cache.memoryBytesMax),
    one('snapnbd_disk_cache_hits_total', 'counter', 'Blocks found on disk.', ({ disk }) => disk?.hits),
    one('snapnbd_disk_cache_stored_total', 'counter', 'Blocks written to disk.', ({ disk }) => disk?.stored),
    one(
      'snapnbd_disk_cache_skipped_total',
      'counter',
      'Blocks not written, as the disk had failed.',
      ({ disk }) => disk?.skipped,
    ),
    one(
      'snapnbd_disk_cache_paused',
      'gauge',
      '1 while the disk cache is left alone after a failure.',
      ({ disk }) => (disk === null ? undefined : disk.pauseReason === null ? 0 : 1),
    ),
  ];
}

function apiMetrics(): FigureMetric[] {
  const one = (
    name: string,
    type: FigureMetric['type'],
    help: string,
    read: ByApi,
    label = '',
  ): FigureMetric => ({
    name,
    help,
    type,
    read: ({ api }) => {
      const found = api === null ? undefined : read(api);
      if (found === undefined) return [];
      if (typeof found === 'number') return [{ value: found, labels: {} }];
      return Object.entries(found).map(([key, value]) => ({ value, labels: { [label]: key } }));
    },
  });
  return [
    one(
      'snapnbd_api_calls_total',
      'counter',
      'Calls that the service answered.',
      (api) => api.calls,
      'operation',
    ),
    one('snapnbd_api_failures_total', 'counter', 'Tries that failed.', (api) => api.failures, 'kind'),
    one('snapnbd_api_retries_total', 'counter', 'Tries after a first one.', (api) => api.retries),
    one('snapnbd_api_read_bytes_total', 'counter', 'Blocks that arrived.', (api) => api.bytesRead),
    one('snapnbd_api_written_bytes_total', 'counter', 'Blocks that were put.', (api) => api.bytesWritten),
    one('snapnbd_api_cost_dollars_total', 'counter', 'What the calls cost, in US dollars.', (api) => api.usd),
    one(
      'snapnbd_api_cost_max_dollars',
      'gauge',
      'What they may cost (--max-cost).',
      (api) => api.usdMax ?? undefined,
    ),
    one('snapnbd_api_cost_bound_reached', 'gauge', '1 when calls are refused for their cost.', (api) =>
      Number(api.isCostBoundReached),
    ),
    one('snapnbd_api_in_flight', 'gauge', 'Calls under way.', (api) => api.underWay),
    one(
      'snapnbd_api_in_flight_max',
      'gauge',
      'Gets that may be under way at present.',
      (api) => api.inFlightMax,
    ),
    one('snapnbd_api_queued', 'gauge', 'Gets that wait for a place.', (api) => api.waitingForPlace),
    one(
      'snapnbd_api_waiting',
      'gauge',
      'Calls that wait for another try.',
      (api) => ({ throttled: api.throttled, failing: api.failing }),
      'reason',
    ),
    one(
      'snapnbd_api_oldest_call_seconds',
      'gauge',
      'How long the oldest call has been under way.',
      (api) => api.oldestSeconds,
    ),
    {
      name: 'snapnbd_api_call_duration_seconds',
      help: 'How long each try took.',
      type: 'histogram',
      read: ({ api, latencyBoundsSeconds }) =>
        Object.entries(api?.latency ?? {}).flatMap(([operation, latency]) =>
          histogram('snapnbd_api_call_duration_seconds', { operation }, latency, latencyBoundsSeconds),
        ),
    },
  ];
}

function exportMetrics(): FigureMetric[] {
  const one = (name: string, type: FigureMetric['type'], help: string, read: ByExport): FigureMetric => ({
    name,
    help,
    type,
    read: (status) =>
      labelled(status).flatMap(([figures, label]) => {
        const value = read(figures);
        return value === undefined ? [] : [{ value, labels: { export: label } }];
      }),
  });
  const commands = (
    name: string,
    help: string,
    read: (figures: ExportFigures['commands'][string]) => number,
  ): FigureMetric => ({
    name,
    help,
    type: 'counter',
    read: (status) =>
      labelled(status).flatMap(([figures, label]) =>
        Object.entries(figures.commands).map(([command, counts]) => ({
          value: read(counts),
          labels: { export: label, command },
        })),
      ),
  });
  return [
    commands('snapnbd_requests_total', 'Requests that were answered.', ({ requests }) => requests),
    commands(
      'snapnbd_request_failures_total',
      'Requests answered with an error.',
      ({ failures }) => failures,
    ),
    commands('snapnbd_request_bytes_total', 'Bytes that requests were about.', ({ bytes }) => bytes),
    {
      name: 'snapnbd_request_duration_seconds',
      help: 'From when the disk was asked until it answered; what is at hand counts as no time.',
      type: 'histogram',
      read: (status) =>
        labelled(status).flatMap(([figures, label]) =>
          Object.entries(figures.commands).flatMap(([command, latency]) =>
            histogram(
              'snapnbd_request_duration_seconds',
              { export: label, command },
              latency,
              status.latencyBoundsSeconds,
            ),
          ),
        ),
    },
    one('snapnbd_export_size_bytes', 'gauge', 'Size of the disk.', ({ sizeBytes }) => sizeBytes),
    one('snapnbd_export_clients', 'gauge', 'Clients that use the export.', ({ clients }) => clients),
    one(
      'snapnbd_requests_waiting',
      'gauge',
      'Requests that wait for the disk.',
      ({ waitingCount }) => waitingCount,
    ),
    one(
      'snapnbd_oldest_request_seconds',
      'gauge',
      'How long the oldest one has waited.',
      ({ oldestWaiting }) => oldestWaiting?.ageSeconds ?? 0,
    ),
    one(
      'snapnbd_export_stuck',
      'gauge',
      '1 when something has waited for 10 seconds or more.',
      ({ finding }) => Number(finding.level === 'stuck'),
    ),
    one(
      'snapnbd_blocks_memory_hits_total',
      'counter',
      'Blocks found in memory.',
      ({ blocks }) => blocks?.memoryHits,
    ),
    one(
      'snapnbd_blocks_disk_hits_total',
      'counter',
      'Blocks found in the disk cache.',
      ({ blocks }) => blocks?.diskHits,
    ),
    one(
      'snapnbd_blocks_hole_hits_total',
      'counter',
      'Blocks that are not in the snapshot.',
      ({ blocks }) => blocks?.holeHits,
    ),
    one(
      'snapnbd_blocks_misses_total',
      'counter',
      'Blocks that readers waited for.',
      ({ blocks }) => blocks?.misses,
    ),
    one(
      'snapnbd_blocks_fetched_total',
      'counter',
      'Blocks that the service gave.',
      ({ blocks }) => blocks?.fetched,
    ),
    one('snapnbd_blocks_fetching', 'gauge', 'Blocks on their way.', ({ blocks }) => blocks?.fetching),
    one(
      'snapnbd_tokens_bytes',
      'gauge',
      'What block tokens take in memory.',
      ({ blocks }) => blocks?.tokenBytes,
    ),
    one(
      'snapnbd_fork_staged_bytes',
      'gauge',
      'What is staged and not in a snapshot.',
      ({ fork }) => fork?.stagedBytes,
    ),
    one('snapnbd_fork_committing', 'gauge', '1 while a commit goes on, or has to be finished.', ({ fork }) =>
      fork === null ? undefined : Number(fork.state === 'committing'),
    ),
    one(
      'snapnbd_fork_commit_blocks_put',
      'gauge',
      'Blocks that the commit has put.',
      ({ fork }) => fork?.commit?.putBlocks,
    ),
    one(
      'snapnbd_fork_commit_blocks_due',
      'gauge',
      'Blocks that it has to put, about.',
      ({ fork }) => fork?.commit?.dueBlocks,
    ),
    one('snapnbd_fork_failed', 'gauge', '1 when the journal takes nothing more.', ({ fork }) =>
      fork === null ? undefined : Number(fork.failure !== null),
    ),
  ];
}

/** The exports with labels: their names, as far as labels go. Two that would be the same are told apart. */
function labelled(status: StatusDocument): (readonly [ExportFigures, string])[] {
  const seen = new Set<string>();
  return status.exports.slice(0, EXPORTS_MAX).map((figures, index) => {
    const short = figures.name.slice(0, LABEL_LENGTH_MAX);
    const label = seen.has(short) ? `${short}#${index}` : short;
    seen.add(label);
    return [figures, label];
  });
}

function histogram(
  name: string,
  labels: Readonly<Record<string, string>>,
  { seconds, buckets }: LatencyFigures,
  bounds: readonly number[],
): MetricValue[] {
  let count = 0;
  const values = buckets.map((inBucket, index) => {
    count += inBucket;
    const le = index < bounds.length ? String(bounds[index]) : '+Inf';
    return { metricName: `${name}_bucket`, value: count, labels: { ...labels, le } };
  });
  return [
    ...values,
    { metricName: `${name}_sum`, value: seconds, labels },
    { metricName: `${name}_count`, value: count, labels },
  ];
}
