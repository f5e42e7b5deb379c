import type { MetaContext } from '../codec/meta-context-reply.js';

/** The three forms of replies; extended goes with extended requests. */
export const ReplyStyle = { Simple: 'simple', Structured: 'structured', Extended: 'extended' } as const;
export type ReplyStyle = (typeof ReplyStyle)[keyof typeof ReplyStyle];

/** What a handshake settled about the transmission. */
export interface Agreement {
  readonly replyStyle: ReplyStyle;
  /** The contexts that BLOCK_STATUS answers for; none: it is refused. */
  readonly contexts: readonly MetaContext[];
}
