import type { Extent, ExtentOptions, ExtentSource } from '../../device/block-device.js';
import { faultInExtents, mergeExtents } from '../../device/extent-list.js';
import { assert } from '../../util/assert.js';
import { isPromiseLike } from '../../util/promise-like.js';
import type { BlockStatusChunk } from '../codec/block-status-chunk.js';
import type { RequestHeader } from '../codec/request-header.js';
import { CommandFlag } from '../transmission-constants.js';
import type { StatusContext } from './status-contexts.js';

/**
 * Asks each context about the range of a request. REQ_ONE: one extent. [nbd: NBD_CMD_FLAG_REQ_ONE; nbd-rule 32]
 *
 * @returns the answers in the order of the contexts, at once if all of them are at hand.
 * @throws {AssertionError} when a device's answer does not keep to the contract: it is not passed on.
 */
export function queryStatus(
  contexts: readonly StatusContext[],
  request: RequestHeader,
  extentsMax: number,
  signal: AbortSignal,
): readonly BlockStatusChunk[] | Promise<readonly BlockStatusChunk[]> {
  const { offset, lengthBytes } = request;
  const isOne = (request.flags & CommandFlag.ReqOne) !== 0;
  const options = { extentsMax: isOne ? 1 : extentsMax, signal };
  const answers = contexts.map(({ source }) => ask(source, offset, lengthBytes, options));
  const chunksOf = (all: readonly (readonly Extent[])[]): readonly BlockStatusChunk[] =>
    all.map((extents, index) => {
      const fault = faultInExtents(extents, lengthBytes, options.extentsMax);
      assert(fault === undefined, `the device described ${lengthBytes} bytes by ${fault ?? ''}`);
      return { contextId: contexts[index]?.id ?? 0, extents: mergeExtents(extents) };
    });
  return isAtHand(answers) ? chunksOf(answers) : settleAll(answers).then(chunksOf);
}

function ask(source: ExtentSource, offset: number, lengthBytes: number, options: ExtentOptions): Answer {
  try {
    return source.extents(offset, lengthBytes, options);
  } catch (error) {
    // Those that are under way already are waited for before this one is reported.
    return Promise.reject(error instanceof Error ? error : new Error(String(error)));
  }
}

type Answer = readonly Extent[] | Promise<readonly Extent[]>;

function isAtHand(answers: readonly Answer[]): answers is readonly (readonly Extent[])[] {
  return !answers.some(isPromiseLike);
}

/** Waits for all of them, also when one fails, so that none is with the device any more afterwards. */
async function settleAll(answers: readonly Answer[]): Promise<readonly (readonly Extent[])[]> {
  const results = await Promise.allSettled(answers.map((answer) => Promise.resolve(answer)));
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}
