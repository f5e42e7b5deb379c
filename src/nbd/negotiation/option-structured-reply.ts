import { OptionReplyType } from '../handshake-constants.js';
import { ReplyStyle } from './agreement.js';
import { expectNoData } from './expect-no-data.js';
import type { NegotiationSession } from './session.js';

/** Replies come in chunks from now on, unless they are extended already. [nbd: NBD_OPT_STRUCTURED_REPLY] */
export function handleStructuredReply(session: NegotiationSession, data: Buffer): void {
  expectNoData(data);
  if (session.replyStyle === ReplyStyle.Extended) {
    // [nbd: NBD_REP_ERR_EXT_HEADER_REQD] No way back from there. [nbd-rule 18]
    session.refuse(OptionReplyType.ErrExtHeaderReqd, 'extended headers are on already');
    return;
  }
  session.replyStyle = ReplyStyle.Structured;
  session.reply(OptionReplyType.Ack);
}

/** Requests and replies have headers with 64 bits everywhere from now on. [nbd: NBD_OPT_EXTENDED_HEADERS; nbd-rule 18] */
export function handleExtendedHeaders(session: NegotiationSession, data: Buffer): void {
  expectNoData(data);
  session.replyStyle = ReplyStyle.Extended;
  session.reply(OptionReplyType.Ack);
}
