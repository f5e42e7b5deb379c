import type { BlockDevice, BlockSizes } from '../device/block-device.js';
import { KIB } from '../util/units.js';
import { TransmissionFlag } from './handshake-constants.js';
import type { NbdLimits } from './limits.js';
import { ReplyStyle, type Agreement } from './negotiation/agreement.js';

/** What decides, beside the device, which flags an export is advertised with. */
export interface AgreedFeatures {
  /** Replies come in chunks: structured replies or extended headers are on. */
  readonly hasChunkedReplies: boolean;
  /** BLOCK_STATUS may name contexts: extended headers are on, and contexts are selected. */
  readonly hasStatusPayload: boolean;
}

/** The part of an agreement that shows in the flags of an export. */
export function agreedFeaturesOf(agreed: Agreement): AgreedFeatures {
  return {
    hasChunkedReplies: agreed.replyStyle !== ReplyStyle.Simple,
    // [nbd: NBD_FLAG_BLOCK_STATUS_PAYLOAD]
    hasStatusPayload: agreed.replyStyle === ReplyStyle.Extended && agreed.contexts.length > 0,
  };
}

/** The transmission flags of a device: what it can do, and nothing that it cannot. [nbd: Transmission flags] */
export function transmissionFlagsOf(device: BlockDevice, agreed: AgreedFeatures): number {
  const isWritable = device.write !== undefined;
  // FLUSH and FUA are always understood: on a device that never changes there is nothing to do for them.
  let flags = TransmissionFlag.HasFlags | TransmissionFlag.SendFlush | TransmissionFlag.SendFua;
  // [nbd: NBD_FLAG_READ_ONLY] Set, and enforced where requests are validated. [nbd-rule 13]
  if (!isWritable) flags |= TransmissionFlag.ReadOnly;
  if (isWritable && device.trim !== undefined) flags |= TransmissionFlag.SendTrim;
  if (isWritable && device.zero !== undefined) {
    flags |= TransmissionFlag.SendWriteZeroes;
    // [nbd: NBD_FLAG_SEND_FAST_ZERO] Never without SEND_WRITE_ZEROES. [nbd-rule 30]
    if (device.fastZero === true) flags |= TransmissionFlag.SendFastZero;
  }
  if (device.cache !== undefined) flags |= TransmissionFlag.SendCache;
  // [nbd: NBD_FLAG_CAN_MULTI_CONN] Every connection talks to the same device object. [nbd-rule 14]
  if (device.multiConnection ?? !isWritable) flags |= TransmissionFlag.CanMultiConn;
  // [nbd: NBD_FLAG_SEND_DF] Clear while replies are simple. [nbd-rule 13]
  if (agreed.hasChunkedReplies) flags |= TransmissionFlag.SendDf;
  if (agreed.hasStatusPayload) flags |= TransmissionFlag.BlockStatusPayload;
  return flags;
}

/**
 * The block sizes that a client is told; the maximum never promises more than the server takes. [nbd: NBD_INFO_BLOCK_SIZE]
 * [nbd-rule 12]
 */
export function blockSizesOf(device: BlockDevice, limits: NbdLimits): BlockSizes {
  const { minimum, preferred, maximum } = device.blockSizes ?? {
    minimum: 1,
    preferred: 4 * KIB,
    maximum: limits.payloadBytesMax,
  };
  return { minimum, preferred, maximum: Math.min(maximum, limits.payloadBytesMax) };
}
