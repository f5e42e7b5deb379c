import { DeviceError } from '../../device/device-error.js';
import { messageOf } from '../../util/errors.js';
import type { RequestHeader } from '../codec/request-header.js';
import { Command, CommandFlag, WireError } from '../transmission-constants.js';
import type { ReplyFailure } from './reply-form.js';

/**
 * The error on the wire for what a device threw: one of eight, and EIO for whatever is not a `DeviceError`. ENOTSUP is
 * for FAST_ZERO alone, and EOVERFLOW for DF. [nbd: Error values; nbd-rule 30, 36]
 */
export function wireErrorOf(thrown: unknown, request: RequestHeader): WireError {
  if (!(thrown instanceof DeviceError)) return WireError.EIO;
  if (thrown.errno === 'ENOTSUP') {
    const isFastZero = request.type === Command.WriteZeroes && (request.flags & CommandFlag.FastZero) !== 0;
    return isFastZero ? WireError.ENOTSUP : WireError.EIO;
  }
  if (thrown.errno === 'EOVERFLOW') {
    const isUnfragmented = request.type === Command.Read && (request.flags & CommandFlag.Df) !== 0;
    return isUnfragmented ? WireError.EOVERFLOW : WireError.EIO;
  }
  return WireError[thrown.errno];
}

/**
 * What a failed request is answered with. Only a `DeviceError` is written for users, and only its words go to them: what
 * else was thrown may say anything.
 */
export function failureOf(thrown: unknown, request: RequestHeader): ReplyFailure {
  const error = wireErrorOf(thrown, request);
  if (!(thrown instanceof DeviceError)) return { error, message: "the device failed: see the server's log" };
  return { error, message: messageOf(thrown), offset: thrown.offset };
}
