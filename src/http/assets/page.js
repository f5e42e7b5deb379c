// Asks the server for its figures once a second while it is looked at, and shows what has changed.
import { drawLines, drawMap, readColours, STATES } from './draw.js';
import { bytes, dollars, duration, hitShare, number, rates, totals } from './figures.js';
import { fileBrowser } from './files.js';

const INTERVAL_MS = 1000;
const HISTORY = 120;
/** The server draws no more maps than this at once. */
const MAPS_MAX = 32;

const panels = new Map();
let before;
let hasFiles = false;
let isPaused = false;
let timer;

const byId = (id) => document.getElementById(id);

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** Writes a text where it is another one: what does not change costs nothing and is not read out again. */
function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Fills a list of figures, keeping its elements. */
function fill(list, figures) {
  for (const [name, value] of figures) {
    let row = [...list.children].find((child) => child.dataset.name === name);
    if (row === undefined) {
      row = element('div', undefined, { 'data-name': name });
      row.append(element('dt', name), element('dd'));
      list.append(row);
    }
    write(row.lastElementChild, value);
  }
}

function figureWith(label, caption) {
  const figure = element('figure');
  const canvas = element('canvas', undefined, { role: 'img', 'aria-label': label });
  figure.append(canvas, element('figcaption', caption));
  return { figure, canvas, caption: figure.lastElementChild };
}

function panelOf(figures) {
  const known = panels.get(figures.name);
  if (known !== undefined) return known;
  const section = element('section', undefined, { 'data-export': figures.name });
  const title = element('h2', figures.name, { tabindex: '-1' });
  title.append(' ', element('small', `${figures.description || figures.kind}, ${bytes(figures.sizeBytes)}`));
  const finding = element('p', '', { class: 'finding', role: 'status' });
  const map = figureWith(`Map of ${figures.name}`, '');
  const throughput = figureWith(`Throughput of ${figures.name}`, 'throughput');
  const latency = figureWith(`Latency of ${figures.name}`, 'latency');
  const pictures = element('div', undefined, { class: 'pictures' });
  pictures.append(map.figure, throughput.figure, latency.figure);
  const progress = element('progress', undefined, { 'aria-label': `Commit of ${figures.name}` });
  const list = element('dl', undefined, { class: 'figures' });
  section.append(title, finding, pictures, progress, list);
  // The files of a disk that is being written are not shown.
  if (hasFiles && !figures.isWritable) section.append(fileBrowser(figures.name));
  byId('exports').append(section);
  const panel = {
    ...{ section, finding, map, throughput, latency, progress, list },
    history: { read: [], written: [], median: [], slowest: [] },
    isVisible: panels.size < MAPS_MAX,
  };
  watcher.observe(section);
  section.panel = panel;
  panels.set(figures.name, panel);
  return panel;
}

/** Maps are asked for as far as they can be seen. */
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) entry.target.panel.isVisible = entry.isIntersecting;
});

function remember(history, rate) {
  for (const [name, values] of Object.entries(history)) {
    values.push(rate[name]);
    if (values.length > HISTORY) values.shift();
  }
}

function showExport(figures, earlier, seconds, bounds) {
  const panel = panelOf(figures);
  write(panel.finding, figures.finding.text);
  panel.finding.dataset.level = figures.finding.level;
  const rate = earlier === undefined ? undefined : rates(earlier, figures, seconds, bounds);
  if (rate !== undefined) {
    remember(panel.history, rate);
    write(panel.throughput.caption, `${bytes(rate.read)}/s read, ${bytes(rate.written)}/s written`);
    const latencies = `${duration(rate.median)} median, ${duration(rate.slowest)} 99 %`;
    write(panel.latency.caption, rate.requests === 0 ? 'latency: no request' : `${latencies}, at most`);
  }
  if (panel.isVisible) {
    const { read, written, median, slowest } = panel.history;
    drawLines(
      panel.throughput.canvas,
      [
        [read, '--accent'],
        [written, '--staged'],
      ],
      HISTORY,
    );
    drawLines(
      panel.latency.canvas,
      [
        [slowest, '--dim'],
        [median, '--accent'],
      ],
      HISTORY,
    );
    if (figures.map !== undefined) showMap(panel, figures);
  }
  panel.map.figure.hidden = figures.kind === 'device';
  const commit = figures.fork?.commit;
  panel.progress.hidden = commit === null || commit === undefined;
  if (!panel.progress.hidden) {
    panel.progress.max = Math.max(1, commit.dueBlocks);
    panel.progress.value = commit.putBlocks;
  }
  fill(panel.list, exportRows(figures, rate));
}

function showMap(panel, figures) {
  const counts = drawMap(panel.map.canvas, figures.map);
  const parts = Object.entries(STATES)
    .filter(([letter]) => counts[letter] > 0)
    .map(([letter, [name]]) => `${((counts[letter] * 100) / figures.map.cellCount).toFixed(1)} % ${name}`);
  const text = parts.join(', ');
  write(panel.map.caption, text);
  panel.map.canvas.setAttribute('aria-label', `Map of ${figures.name}: ${text}`);
}

function exportRows(figures, rate) {
  const all = totals(figures);
  const rows = [
    ['clients', number(figures.clients)],
    ['requests/s', rate === undefined ? '–' : number(rate.requests)],
    ['read', bytes(all.readBytes)],
    ['failures', number(all.failures)],
    ['under way', number(figures.waitingCount)],
  ];
  if (figures.isWritable) rows.push(['written', bytes(all.writtenBytes)]);
  const { blocks, fork } = figures;
  if (blocks !== null) {
    const share = hitShare(blocks);
    rows.push(
      ['cache hits', share === undefined ? '–' : `${(share * 100).toFixed(1)} %`],
      ['from disk', number(blocks.diskHits)],
      ['fetched', number(blocks.fetched)],
      ['being fetched', number(blocks.fetching)],
    );
  }
  if (fork !== null)
    rows.push(
      ['state', fork.state],
      ['staged', bytes(fork.stagedBytes)],
      ['blocks put', number(fork.putBlocks)],
    );
  return rows;
}

function showTotals({ api, cache }, earlier, seconds) {
  const rows = [['memory', `${bytes(cache.memoryBytes)} of ${bytes(cache.memoryBytesMax)}`]];
  if (cache.disk !== null) {
    rows.push([
      'disk cache',
      cache.disk.pauseReason ?? `${number(cache.disk.hits)} hits, ${number(cache.disk.stored)} stored`,
    ]);
  }
  if (api !== null) {
    const calls = Object.values(api.calls).reduce((total, count) => total + count, 0);
    const callsBefore = Object.values(earlier?.api?.calls ?? {}).reduce((total, count) => total + count, 0);
    rows.push(
      ['calls', number(calls)],
      ['calls/s', earlier === undefined ? '–' : number(Math.max(0, calls - callsBefore) / seconds)],
      ['in flight', `${number(api.underWay)} of ${number(api.inFlightMax)}`],
      ['queued', number(api.waitingForPlace)],
      ['cost', api.usdMax === null ? dollars(api.usd) : `${dollars(api.usd)} of ${dollars(api.usdMax)}`],
      ['retries', number(api.retries)],
      ['throttled now', number(api.throttled)],
      ['failing now', number(api.failing)],
    );
  }
  fill(byId('totals'), rows);
}

function show(status) {
  const { server } = status;
  hasFiles = server.hasFiles;
  const seconds =
    before === undefined ? 1 : Math.max(0.1, server.uptimeSeconds - before.server.uptimeSeconds);
  const isSame = before !== undefined && before.server.startedAt === server.startedAt;
  const earlier = new Map((isSame ? before.exports : []).map((figures) => [figures.name, figures]));
  const load = isSame
    ? `, ${(((server.cpuSeconds - before.server.cpuSeconds) * 100) / seconds).toFixed(0)} % of a processor`
    : '';
  write(
    byId('server'),
    `${server.version}, ${server.state} for ${duration(server.uptimeSeconds)}, ${number(server.clients)} clients, ${bytes(server.residentBytes)} of memory${load}`,
  );
  showTotals(status, isSame ? before : undefined, seconds);
  for (const figures of status.exports) {
    showExport(figures, earlier.get(figures.name), seconds, status.latencyBoundsSeconds);
  }
  const names = new Set(status.exports.map(({ name }) => name));
  for (const [name, panel] of panels) {
    if (names.has(name)) continue;
    watcher.unobserve(panel.section);
    panel.section.remove();
    panels.delete(name);
  }
  before = status;
}

async function ask() {
  const query = new URLSearchParams();
  const seen = [...panels].filter(([, panel]) => panel.isVisible).slice(0, MAPS_MAX);
  for (const [name] of seen) {
    // Longer addresses are refused.
    if (query.toString().length < 2000) query.append('map', name);
  }
  const startMs = performance.now();
  try {
    const response = await fetch(`api/status?${query}`, { signal: AbortSignal.timeout(10_000) });
    if (response.status === 401) location.reload();
    if (!response.ok) throw new Error(`the server answers ${response.status}`);
    show(await response.json());
  } catch (error) {
    write(byId('server'), `The server does not answer: ${error.message}. Asking again…`);
  }
  // A server that is slow to answer is asked less often. The first answer brings no maps: they follow at once.
  const isFirst = query.size === 0 && panels.size > 0;
  plan(isFirst ? 0 : Math.max(INTERVAL_MS, 10 * (performance.now() - startMs)));
}

function plan(delayMs) {
  clearTimeout(timer);
  timer = isPaused || document.hidden ? undefined : setTimeout(() => void ask(), delayMs);
}

for (const [letter, [name]] of Object.entries(STATES)) {
  const item = element('li');
  item.append(element('i', undefined, { class: `swatch-${letter}` }), name);
  byId('legend').append(item);
}
byId('pause').addEventListener('click', (event) => {
  isPaused = !isPaused;
  event.target.setAttribute('aria-pressed', String(isPaused));
  plan(0);
});
document.addEventListener('visibilitychange', () => plan(0));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', readColours);
readColours();
void ask();
