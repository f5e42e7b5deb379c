import { PNG } from 'pngjs';
import t from 'tap';
import { DiskMap } from '../../src/picture/disk-map.js';
import { gridFor } from '../../src/picture/grid.js';
import { colourOf, EMPTY, FULL } from '../../src/picture/palette.js';
import { drawPng } from '../../src/picture/png-picture.js';
import { drawSvg } from '../../src/picture/svg-picture.js';
import { drawLayer, textCells, textColumns } from '../../src/picture/text-picture.js';
import { GIB } from '../../src/util/units.js';

const BLOCK_BYTES = 512 * 1024;
const STYLE = { columns: 80, isUnicode: true, isColoured: false };

/** All of it looked at; the first quarter written, and half of that changed. */
function quarterMap(blockCount: number, cells: number): DiskMap {
  const map = new DiskMap(blockCount, cells);
  map.look('data', 0, blockCount);
  map.look('changed', 0, blockCount);
  map.look('zeroed', 0, blockCount);
  map.add('data', 0, blockCount / 4);
  map.add('changed', blockCount / 8, blockCount / 4);
  return map;
}

t.test('cells share all blocks among them, whatever the numbers', async (t) => {
  for (const [blockCount, cells] of [
    [2048, 1000],
    [2048, 5000],
    [134_217_728, 1072],
    [4096 * 3, 7],
  ] as const) {
    const map = new DiskMap(blockCount, cells);
    let at = 0;
    for (let cell = 0; cell < map.cellCount; cell += 1) {
      t.equal(map.firstBlockOf(cell), at);
      const next = map.firstBlockOf(cell + 1);
      if (map.cellOf(at) !== cell || map.cellOf(next - 1) !== cell) t.fail(`cell ${cell} of ${cells}`);
      at = next;
    }
    t.equal(at, blockCount);
  }
});

t.test('shares: of what was looked at, and nothing where nothing was', async (t) => {
  const map = new DiskMap(1000, 10);
  map.look('data', 0, 150);
  map.add('data', 50, 110);
  t.equal(map.shareOf('data', 0), 0.5);
  t.equal(map.shareOf('data', 1), 0.2);
  t.equal(map.shareOf('data', 2), undefined);
  t.equal(map.shareOf('changed', 0), undefined);
});

t.test('text: as wide as the terminal, plain ASCII on request, colours on request', async (t) => {
  const blockCount = 64 * 2048;
  const map = quarterMap(blockCount, textCells(STYLE));
  const lines = drawLayer(map, 'data', STYLE, BLOCK_BYTES);
  t.equal(lines.length, 16);
  for (const line of lines) t.ok(line.length <= 80);
  t.equal(lines[0], `         0 |${'█'.repeat(textColumns(STYLE))}|`);
  t.match(lines[4], /^ {4}16 GiB \|·+\|$/);
  const ascii = drawLayer(map, 'changed', { ...STYLE, isUnicode: false }, BLOCK_BYTES).join('');
  t.match(ascii, /^[ -~]+$/);
  t.match(ascii, /[.]+.*#/);
  t.match(drawLayer(map, 'data', { ...STYLE, isColoured: true }, BLOCK_BYTES)[0], '|\u001b[36m█');
  const unknown = drawLayer(new DiskMap(blockCount, 67), 'data', STYLE, BLOCK_BYTES);
  t.match(unknown[0], /\|\?{67}\|/);
  const few = drawLayer(
    quarterMap(2048, textCells({ ...STYLE, columns: 5 })),
    'data',
    { ...STYLE, columns: 5 },
    BLOCK_BYTES,
  );
  t.equal(few.length, 16, 'a narrow terminal');
});

t.test('PNG: row by row from the top left, changes over data', async (t) => {
  const blockCount = GIB / BLOCK_BYTES;
  const map = quarterMap(blockCount, 1 << 17);
  const { columns, rows } = gridFor(blockCount, 1 << 17);
  t.equal(columns * rows, blockCount);
  const pixelOf = (png: PNG, cell: number): readonly number[] => {
    const scale = png.width / columns;
    const at = 4 * ((Math.floor(cell / columns) * scale + 1) * png.width + (cell % columns) * scale + 1);
    return [...png.data.subarray(at, at + 3)];
  };
  const plain = PNG.sync.read(drawPng(map, false));
  t.strictSame(pixelOf(plain, 0), FULL.data);
  t.strictSame(pixelOf(plain, blockCount / 4 - 1), FULL.data);
  t.strictSame(pixelOf(plain, blockCount / 4), EMPTY);
  const changes = PNG.sync.read(drawPng(map, true));
  t.strictSame(pixelOf(changes, blockCount / 8), FULL.changed);
  t.strictSame(pixelOf(changes, 0), colourOf(map, 0, true));
  t.notSame(pixelOf(changes, 0), FULL.data, 'what has not changed is fainter');
});

t.test('SVG: labelled, escaped, no larger than its cells', async (t) => {
  const map = quarterMap(134_217_728, 8192);
  const words = { title: 'a <b> & c', note: 'exact', showsChanges: true, blockBytes: BLOCK_BYTES };
  const svg = drawSvg(map, words);
  t.match(svg, /^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"/);
  t.match(svg, '<title>a &lt;b&gt; &amp; c</title>');
  t.match(svg, '>32 TiB<');
  t.match(svg, '>became zeros<');
  t.ok(svg.length < 100_000);
});
