import { encodeMetaContextReply } from '../codec/meta-context-reply.js';
import { decodeMetaContextRequest } from '../codec/meta-context-request.js';
import { OptionReplyType } from '../handshake-constants.js';
import { listMetaContexts, selectMetaContexts } from '../meta-contexts.js';
import { ReplyStyle } from './agreement.js';
import { replyTypeOf, type NegotiationSession } from './session.js';

/** Says which contexts an export has. [nbd: NBD_OPT_LIST_META_CONTEXT] */
export function handleListMetaContext(session: NegotiationSession, data: Buffer): void {
  const { name, queries } = decodeMetaContextRequest(data);
  if (!hasChunkedReplies(session)) return;
  session.acquire(name, {
    acquired: (lease) => {
      for (const context of listMetaContexts(lease.device, queries)) {
        session.reply(OptionReplyType.MetaContext, encodeMetaContextReply({ id: 0, name: context }));
      }
      session.reply(OptionReplyType.Ack);
    },
    refused: (error) => session.refuse(replyTypeOf(error), error.message),
  });
}

/** Selects the contexts that BLOCK_STATUS will answer for. [nbd: NBD_OPT_SET_META_CONTEXT; nbd-rule 17] */
export function handleSetMetaContext(session: NegotiationSession, data: Buffer): void {
  // The set before is replaced whatever comes of this one.
  session.forgetContexts();
  const { name, queries } = decodeMetaContextRequest(data);
  if (!hasChunkedReplies(session)) return;
  session.acquire(name, {
    acquired: (lease) => {
      const names = selectMetaContexts(lease.device, queries);
      const { contextsMax } = session.setup.limits;
      if (names.length > contextsMax) {
        session.refuse(
          OptionReplyType.ErrTooBig,
          `${names.length} contexts, where ${contextsMax} are allowed`,
        );
        return;
      }
      const contexts = names.map((context, index) => ({ id: index + 1, name: context }));
      session.selectContexts(lease.name, contexts);
      for (const context of contexts) {
        session.reply(OptionReplyType.MetaContext, encodeMetaContextReply(context));
      }
      session.reply(OptionReplyType.Ack);
    },
    refused: (error) => session.refuse(replyTypeOf(error), error.message),
  });
}

/** Contexts are of no use with simple replies; says so, and gives false. */
function hasChunkedReplies(session: NegotiationSession): boolean {
  if (session.replyStyle !== ReplyStyle.Simple) return true;
  session.refuse(OptionReplyType.ErrInvalid, 'structured replies have to be negotiated first');
  return false;
}
