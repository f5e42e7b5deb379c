import type { BlockDevice, ExtentSource } from '../../device/block-device.js';
import { decodeBlockStatusPayload } from '../codec/block-status-payload.js';
import type { RequestHeader } from '../codec/request-header.js';
import { metaContextsOf } from '../meta-contexts.js';
import type { Agreement } from '../negotiation/agreement.js';
import { ProtocolError } from '../protocol-error.js';

/** A context that BLOCK_STATUS answers for, and who knows the answer. */
export interface StatusContext {
  readonly id: number;
  readonly source: ExtentSource;
}

/** A payload of BLOCK_STATUS is never longer, whoever fills it in: room for 1024 contexts. In bytes. */
export const STATUS_PAYLOAD_BYTES_MAX = 8 + 4 * 1024;

/** The contexts that were agreed on, on the device that was opened. */
export function statusContextsOf(device: BlockDevice, agreed: Agreement): readonly StatusContext[] {
  const sources = metaContextsOf(device);
  return agreed.contexts.flatMap(({ id, name }) => {
    const source = sources.get(name);
    return source === undefined ? [] : [{ id, source }];
  });
}

/**
 * What a BLOCK_STATUS with a payload asks for: a range of the length that the payload gives, and some of the contexts.
 *
 * @returns undefined when the payload is malformed, names no context, one twice, or one that was not agreed on.
 */
export function narrowStatus(
  header: RequestHeader,
  payload: Buffer,
  contexts: readonly StatusContext[],
): { readonly request: RequestHeader; readonly contexts: readonly StatusContext[] } | undefined {
  let asked;
  try {
    asked = decodeBlockStatusPayload(payload);
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
  const ids = new Set(asked.contextIds);
  const chosen = contexts.filter(({ id }) => ids.has(id));
  if (chosen.length === 0 || chosen.length !== asked.contextIds.length) return undefined;
  return { request: { ...header, lengthBytes: asked.lengthBytes }, contexts: chosen };
}
