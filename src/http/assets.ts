import { readFileSync } from 'node:fs';

/** A file of the page. */
export interface Asset {
  readonly type: string;
  readonly bytes: Buffer;
}

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

const NAMES = [
  'index.html',
  'login.html',
  'page.css',
  'page.js',
  'figures.js',
  'draw.js',
  'files.js',
  'login.js',
  'icon.svg',
];

/** The files of the page, by name: read once, as they lie beside this one both in `src` and in `dist`. */
export function loadAssets(): ReadonlyMap<string, Asset> {
  return new Map(
    NAMES.map((name) => [
      name,
      {
        type: TYPES[name.split('.')[1] ?? ''] ?? 'application/octet-stream',
        bytes: readFileSync(new URL(`assets/${name}`, import.meta.url)),
      },
    ]),
  );
}
