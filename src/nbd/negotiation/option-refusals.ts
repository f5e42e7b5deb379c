import { OptionReplyType, OptionType } from '../handshake-constants.js';
import { ReplyStyle } from './agreement.js';
import { OPTION_HANDLERS } from './option-handlers.js';
import { TlsMode, type NegotiationSession, type Refusal } from './session.js';

/**
 * Why an option is refused whatever its data are, or undefined.
 *
 * @param ofAll set when every option is refused.
 */
export function refusalOf(
  option: number,
  session: NegotiationSession,
  ofAll: Refusal | undefined,
): Refusal | undefined {
  if (option === OptionType.Abort) return undefined;
  if (ofAll !== undefined) return ofAll;
  // [nbd: FORCEDTLS mode] Everything else waits for TLS. [nbd-rule 16]
  const { isTls, setup } = session;
  if (setup.tlsMode === TlsMode.Require && !isTls && option !== OptionType.StartTls) return TLS_REQUIRED;
  // [nbd: NBD_OPT_EXTENDED_HEADERS] EXPORT_NAME is forbidden behind it. [nbd-rule 18]
  if (option === OptionType.ExportName && session.replyStyle === ReplyStyle.Extended) {
    return { replyType: OptionReplyType.ErrInvalid, message: 'EXPORT_NAME with extended headers' };
  }
  // [nbd: Option haggling] Unknown: consume its data, say so, keep parsing. [nbd-rule 4]
  if (!OPTION_HANDLERS.has(option)) {
    return { replyType: OptionReplyType.ErrUnsup, message: `option ${option} is not known here` };
  }
  return undefined;
}

const TLS_REQUIRED: Refusal = {
  replyType: OptionReplyType.ErrTlsReqd,
  message: 'this server takes no option but STARTTLS before TLS is on',
};
