// What can be said of two statuses of the server, one after the other.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function bytes(count) {
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

export function number(count) {
  return Math.round(count).toLocaleString('en');
}

export function duration(seconds) {
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  // Two digits, but for what would be written as a power of ten.
  if (seconds < 0.0995) return `${(seconds * 1000).toPrecision(2)} ms`;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

export function dollars(usd) {
  return `$${usd.toFixed(usd < 1 ? 5 : 2)}`;
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

/** Totals of the commands of an export. */
export function totals(figures) {
  const commands = Object.entries(figures.commands);
  return {
    readBytes: figures.commands.READ?.bytes ?? 0,
    writtenBytes: figures.commands.WRITE?.bytes ?? 0,
    requests: sum(commands.map(([, counts]) => counts.requests)),
    failures: sum(commands.map(([, counts]) => counts.failures)),
    buckets: commands.reduce(
      (total, [, counts]) => counts.buckets.map((count, index) => count + (total[index] ?? 0)),
      [],
    ),
  };
}

/** The time within which a part of the requests was answered, by the bounds of the buckets. */
export function quantile(buckets, bounds, part) {
  const count = sum(buckets);
  if (count === 0) return undefined;
  let seen = 0;
  for (let index = 0; index < buckets.length; index += 1) {
    seen += buckets[index];
    if (seen >= part * count) return bounds[Math.min(index, bounds.length - 1)];
  }
  return bounds[bounds.length - 1];
}

/** What happened between two statuses of an export, by the second. */
export function rates(before, now, seconds, bounds) {
  const [a, b] = [totals(before), totals(now)];
  const buckets = b.buckets.map((count, index) => count - (a.buckets[index] ?? 0));
  return {
    read: Math.max(0, b.readBytes - a.readBytes) / seconds,
    written: Math.max(0, b.writtenBytes - a.writtenBytes) / seconds,
    requests: Math.max(0, b.requests - a.requests) / seconds,
    median: quantile(buckets, bounds, 0.5) ?? 0,
    slowest: quantile(buckets, bounds, 0.99) ?? 0,
  };
}

/** Which part of the blocks that were read was at hand. */
export function hitShare(blocks) {
  const hits = blocks.memoryHits + blocks.holeHits;
  const all = hits + blocks.misses;
  return all === 0 ? undefined : hits / all;
}
