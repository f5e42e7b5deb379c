import type { BlockDevice } from '../device/block-device.js';
import { BLOCK_BYTES } from '../ebs/constants.js';
import { isZeroExtent } from './fork-view.js';
import type { Layer } from './layer.js';
import { PutState } from './put-table.js';
import { isZeroState } from './sector-state.js';

/** As many extents as are asked for at once. */
const EXTENTS_MAX = 1024;

/** What the zero rules depend on. */
export interface DueContext {
  /** Beneath the layer. */
  readonly base: BlockDevice;
  /** Whether the snapshot is encrypted. */
  readonly encrypted: boolean;
}

/**
 * The blocks of a layer that are still to be put, ascending, and at the end those that were put before and are owed.
 * Blocks of zeros over zeros are left out, unless the snapshot is encrypted: a volume that AWS makes of it reads random
 * bytes where nothing was put. Where the base has data, zeros are put, or that data would come back.
 *
 * [ebs: Reading / never written]
 */
export async function* dueBlocks(layer: Layer, context: DueContext): AsyncGenerator<number, void> {
  for (const { startBlock, endBlock, state } of layer.map.blockRuns()) {
    const mayCostNothing = state !== undefined && isZeroState(state) && !context.encrypted;
    const runs = mayCostNothing
      ? dataBlocksOf(context.base, startBlock, endBlock)
      : [{ startBlock, endBlock }];
    for await (const run of runs) {
      for (let block = run.startBlock; block < run.endBlock; block += 1) {
        if (layer.puts.get(block) === PutState.Never) yield block;
      }
    }
  }
  if (layer.puts.owedCount === 0) return;
  for (const block of layer.puts.blocks()) if (layer.puts.get(block) === PutState.Owed) yield block;
}

/** True when a block of zeros need not be put. */
export async function costsNothing(block: number, layer: Layer, context: DueContext): Promise<boolean> {
  if (context.encrypted || layer.puts.get(block) !== PutState.Never) return false;
  for await (const run of dataBlocksOf(context.base, block, block + 1))
    return run.endBlock === run.startBlock;
  return true;
}

/** How many blocks {@link dueBlocks} gives at most, zeros aside. */
export function dueBlockCount(layer: Layer): number {
  let count = layer.puts.owedCount;
  for (const { startBlock, endBlock, state } of layer.map.blockRuns()) {
    if (state !== undefined && isZeroState(state)) continue;
    for (let block = startBlock; block < endBlock; block += 1) {
      if (layer.puts.get(block) === PutState.Never) count += 1;
    }
  }
  return count;
}

/** The blocks of the range in which the base may have something else than zeros. */
async function* dataBlocksOf(
  base: BlockDevice,
  startBlock: number,
  endBlock: number,
): AsyncGenerator<{ readonly startBlock: number; readonly endBlock: number }, void> {
  const end = endBlock * BLOCK_BYTES;
  // Blocks before this one have been given.
  let givenBlock = startBlock;
  for (let at = startBlock * BLOCK_BYTES; at < end;) {
    const extents = (await base.extents?.(at, end - at, { extentsMax: EXTENTS_MAX })) ?? [
      { lengthBytes: end - at, flags: 0 },
    ];
    for (const extent of extents) {
      const extentEnd = at + extent.lengthBytes;
      if (!isZeroExtent(extent)) {
        const first = Math.max(givenBlock, Math.floor(at / BLOCK_BYTES));
        givenBlock = Math.max(first, Math.ceil(extentEnd / BLOCK_BYTES));
        if (first < givenBlock) yield { startBlock: first, endBlock: givenBlock };
      }
      at = extentEnd;
    }
  }
}
