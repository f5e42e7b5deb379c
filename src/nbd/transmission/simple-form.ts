import type { ReadResult } from '../../device/block-device.js';
import { assert } from '../../util/assert.js';
import type { RequestHeader } from '../codec/request-header.js';
import { encodeSimpleReply, SIMPLE_REPLY_BYTES } from '../codec/simple-reply.js';
import { WireError } from '../transmission-constants.js';
import type { ReplyForm } from './reply-form.js';
import type { ReplyWriter } from './reply-writer.js';

/**
 * Simple replies: a header with an error, and after a successful READ exactly the bytes asked for. There is no way back
 * once a header without an error is out, so that a reply is made only when all of its data are there.
 * [nbd: Simple reply message; nbd-rule 22]
 */
export const simpleForm: ReplyForm = {
  dataHeaderBytes: SIMPLE_REPLY_BYTES,

  encodeDataHeader(bytes, at, request) {
    encodeSimpleReply(bytes, at, WireError.None, request.cookieHigh, request.cookieLow);
  },

  data(writer, request, result) {
    writeHeader(writer, request, WireError.None);
    writeData(writer, result);
  },

  success(writer, request) {
    writeHeader(writer, request, WireError.None);
  },

  blockStatus() {
    assert(false, 'BLOCK_STATUS has no simple reply');
  },

  failure(writer, request, failure) {
    writeHeader(writer, request, failure.error);
  },
};

function writeHeader(writer: ReplyWriter, request: RequestHeader, error: WireError): void {
  const bytes = writer.reserve(SIMPLE_REPLY_BYTES);
  encodeSimpleReply(bytes, writer.at, error, request.cookieHigh, request.cookieLow);
  writer.commit(SIMPLE_REPLY_BYTES);
}

/** Adds the bytes of a read, zeros included. */
export function writeData(writer: ReplyWriter, result: ReadResult): void {
  for (const chunk of result) {
    if ('zeroBytes' in chunk) writer.appendZeros(chunk.zeroBytes);
    else writer.append(chunk);
  }
}
