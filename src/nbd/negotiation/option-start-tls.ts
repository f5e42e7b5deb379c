import { OptionReplyType } from '../handshake-constants.js';
import { expectNoData } from './expect-no-data.js';
import { TlsMode, type NegotiationSession } from './session.js';

/** Goes on encrypted. [nbd: NBD_OPT_STARTTLS; nbd-rule 15] */
export function handleStartTls(session: NegotiationSession, data: Buffer): void {
  expectNoData(data);
  if (session.isTls) {
    session.refuse(OptionReplyType.ErrInvalid, 'TLS is on already');
    return;
  }
  // [nbd: NOTLS mode] Also for clients that did not say that they speak fixed newstyle.
  if (session.setup.tlsMode === TlsMode.Off || !session.isFixedNewstyle) {
    session.refuse(OptionReplyType.ErrPolicy, 'TLS is not offered here');
    return;
  }
  session.reply(OptionReplyType.Ack);
  session.startTls();
}
