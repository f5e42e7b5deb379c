import { writeFile } from 'node:fs/promises';
import { DiskMap } from '../../picture/disk-map.js';
import { drawPng, PNG_CELLS_MAX } from '../../picture/png-picture.js';
import { drawSvg, SVG_CELLS_MAX } from '../../picture/svg-picture.js';
import { drawLayer, legendOf, textCells, type TextStyle } from '../../picture/text-picture.js';
import { imageError } from '../../transfer/transfer-error.js';
import { formatBytes } from '../../util/units.js';
import { mapSnapshot, type MapFacts, type MapTask } from './mapping.js';

export type { TextStyle } from '../../picture/text-picture.js';

/** What is drawn. */
export interface DrawTask extends MapTask {
  /** List all of it, whatever that takes. */
  readonly isExact: boolean;
  readonly style: TextStyle;
  readonly pngPath?: string | undefined;
  readonly svgPath?: string | undefined;
}

/**
 * Draws the map of a snapshot: as text, and into the files that are asked for.
 *
 * @returns the lines of the picture in text.
 * @throws {EbsError}, {EnvironmentError} in one line.
 */
export async function drawSnapshot(task: DrawTask): Promise<readonly string[]> {
  const { style, pngPath, svgPath, againstSnapshotId } = task;
  const showsChanges = againstSnapshotId !== undefined;
  let maps: { readonly text: DiskMap; readonly png?: DiskMap; readonly svg?: DiskMap } | undefined;
  const facts = await mapSnapshot({
    ...task,
    makeMaps: ({ blockCount }, cellsMax) => {
      const sized = (cells: number): DiskMap => new DiskMap(blockCount, Math.min(cells, cellsMax));
      maps = {
        text: sized(textCells(style)),
        ...(pngPath === undefined ? {} : { png: sized(PNG_CELLS_MAX) }),
        ...(svgPath === undefined ? {} : { svg: sized(SVG_CELLS_MAX) }),
      };
      return Object.values(maps);
    },
  });
  if (maps === undefined) return [];
  const { text, png, svg } = maps;
  const { blockBytes } = facts;
  const [title, note] = [titleOf(task, facts), noteOf(facts)];
  if (pngPath !== undefined && png !== undefined) await save(pngPath, drawPng(png, showsChanges));
  if (svgPath !== undefined && svg !== undefined)
    await save(svgPath, drawSvg(svg, { title, note, showsChanges, blockBytes }));
  const changes =
    facts.changedBlocks === undefined
      ? []
      : [
          `changed since ${againstSnapshotId ?? ''}: ${sizeOf(facts.changedBlocks, facts)}`,
          ...drawLayer(text, 'changed', style, blockBytes),
        ];
  return [title, ...drawLayer(text, 'data', style, blockBytes), ...changes, legendOf(style), note];
}

function titleOf({ snapshotId }: DrawTask, facts: MapFacts): string {
  return `${snapshotId}: ${sizeOf(facts.dataBlocks, facts)} written of ${formatBytes(facts.sizeBytes)}`;
}

function sizeOf(blocks: number, { isExact, blockBytes, blockCount }: MapFacts): string {
  const share = (100 * blocks) / blockCount;
  const percent = share > 0 && share < 0.1 ? 'below 0.1' : share.toFixed(1);
  return `${isExact ? '' : 'about '}${formatBytes(blocks * blockBytes)} (${percent} %)`;
}

function noteOf({ isExact, listCallCount, costUsd }: MapFacts): string {
  const calls = listCallCount === 1 ? '1 list call' : `${listCallCount} list calls`;
  const cost = `${calls}, $${costUsd.toFixed(6)}`;
  return isExact
    ? `every block was looked at: ${cost}`
    : `a sample: at least 100 blocks of each of some thousand places were looked at (--exact lists all of it): ${cost}`;
}

async function save(path: string, content: string | Buffer): Promise<void> {
  await writeFile(path, content).catch((error: unknown) => {
    throw imageError('write', path, error);
  });
}
