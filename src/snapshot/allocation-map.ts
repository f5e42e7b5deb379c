import type { Extent, ExtentOptions, ExtentSource } from '../device/block-device.js';
import { HOLE_FLAGS } from '../device/extent-list.js';
import { RunExtents, type FlaggedRun } from './run-extents.js';
import { BlockState, type BlockRun } from './token-page.js';
import type { TokenMap } from './token-map.js';

/** Each is one list call, or few. */
const LOOKUPS_PER_QUESTION_MAX = 2;

/** The context `base:allocation` of a snapshot: blocks that are not listed are holes that read as zeros. */
export class AllocationMap implements ExtentSource {
  readonly #extents: RunExtents;

  constructor(tokens: TokenMap) {
    this.#extents = new RunExtents(
      {
        runAt: (blockIndex) => {
          const run = tokens.runAt(blockIndex);
          return run === undefined ? undefined : allocationOf(run);
        },
        learn: async (blockIndex) => allocationOf(await tokens.learn(blockIndex, { bulk: true })),
      },
      { lookupsMax: LOOKUPS_PER_QUESTION_MAX },
    );
  }

  extents(
    offset: number,
    lengthBytes: number,
    options: ExtentOptions,
  ): readonly Extent[] | Promise<readonly Extent[]> {
    return this.#extents.extents(offset, lengthBytes, options);
  }
}

function allocationOf({ state, endIndex }: BlockRun): FlaggedRun {
  return { flags: state === BlockState.Listed ? 0 : HOLE_FLAGS, endIndex };
}
