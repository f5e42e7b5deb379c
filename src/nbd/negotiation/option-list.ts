import { encodeServerReply } from '../codec/server-reply.js';
import { OptionReplyType } from '../handshake-constants.js';
import { expectNoData } from './expect-no-data.js';
import type { NegotiationSession } from './session.js';

/** One reply for each export, then the acknowledgement. [nbd: NBD_OPT_LIST; nbd-rule 7] */
export function handleList(session: NegotiationSession, data: Buffer): void {
  expectNoData(data);
  session.listExports((listings) => {
    session.shownCount = Math.max(session.shownCount, listings.length);
    for (const { name, description } of listings) {
      session.reply(OptionReplyType.Server, encodeServerReply({ name, description: description ?? '' }));
    }
    session.reply(OptionReplyType.Ack);
  });
}
