import { OptionReplyType } from '../handshake-constants.js';
import type { NegotiationSession } from './session.js';

/**
 * Acknowledges, and hangs up. Data are ignored, and it does not matter whether the peer is still there to hear it.
 * [nbd: NBD_OPT_ABORT; nbd-rule 5]
 */
export function handleAbort(session: NegotiationSession): void {
  session.reply(OptionReplyType.Ack);
  session.close('the client ended the handshake');
}
