// Pictures on canvases, in the colours of the style sheet.

/** The states of a map, with what they are called and the colour they have. */
export const STATES = {
  f: ['being fetched', '--fetching'],
  m: ['in memory', '--memory'],
  d: ['on disk', '--disk'],
  s: ['staged', '--staged'],
  p: ['put', '--put'],
  r: ['read earlier', '--read'],
  n: ['never read', '--never'],
  h: ['hole', '--hole'],
  u: ['not listed yet', '--unknown'],
};

let colours = new Map();

/** Reads the colours again, as they may have changed from light to dark. */
export function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = [...Object.values(STATES).map(([, name]) => name), '--accent', '--line', '--dim', '--staged'];
  colours = new Map(names.map((name) => [name, style.getPropertyValue(name).trim()]));
}

function surface(canvas) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext('2d');
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** Runs of a map, as the server writes them. */
export function runsOf(cells) {
  return [...cells.matchAll(/(\d*)([a-z])(\d)/g)].map(([, count, letter, share]) => ({
    count: count === '' ? 1 : Number(count),
    letter,
    share: Number(share) / 9,
  }));
}

/** Draws a disk as a field of cells, line by line. @returns how many cells each state has. */
export function drawMap(canvas, map) {
  const { context, width, height } = surface(canvas);
  const columns = Math.max(1, Math.ceil(Math.sqrt((map.cellCount * width) / Math.max(1, height))));
  const rows = Math.ceil(map.cellCount / columns);
  const [cellWidth, cellHeight] = [width / columns, height / rows];
  const counts = {};
  let at = 0;
  for (const { count, letter, share } of runsOf(map.cells)) {
    counts[letter] = (counts[letter] ?? 0) + count;
    context.fillStyle = colours.get(STATES[letter]?.[1]) ?? 'gray';
    // A cell that has little of its state is paler, and never invisible.
    context.globalAlpha = 'hu'.includes(letter) ? 1 : 0.35 + 0.65 * share;
    for (let left = count; left > 0;) {
      const column = at % columns;
      const part = Math.min(left, columns - column);
      const row = Math.floor(at / columns);
      context.fillRect(column * cellWidth, row * cellHeight, part * cellWidth, Math.max(1, cellHeight - 0.5));
      at += part;
      left -= part;
    }
  }
  context.globalAlpha = 1;
  return counts;
}

/** Draws lines over time, the newest value at the right. @param lines of values and the name of a colour. */
export function drawLines(canvas, lines, length) {
  const { context, width, height } = surface(canvas);
  const top = Math.max(1e-9, ...lines.flatMap(([values]) => values));
  context.strokeStyle = colours.get('--line');
  context.beginPath();
  context.moveTo(0, height - 0.5);
  context.lineTo(width, height - 0.5);
  context.stroke();
  for (const [values, colour] of lines) {
    context.strokeStyle = colours.get(colour);
    context.lineWidth = 1.5;
    context.beginPath();
    for (const [index, value] of values.entries()) {
      const x = width - ((values.length - 1 - index) * width) / (length - 1);
      const y = height - 2 - (value / top) * (height - 6);
      if (index === 0) context.moveTo(x, y);
      else context.lineTo(x, y);
    }
    context.stroke();
  }
}
