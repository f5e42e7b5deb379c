import type { MetaContext } from '../codec/meta-context-reply.js';
import { encodeOptionReply } from '../codec/option-reply.js';
import { encodeString } from '../codec/wire-string.js';
import type { ExportLease, ExportListing, ExportRefusedError } from '../export-table.js';
import { OptionReplyType } from '../handshake-constants.js';
import type { NbdLimits } from '../limits.js';
import { ReplyStyle, type Agreement } from './agreement.js';

/** What the negotiation wants done; the connection does it. */
export type NegotiationAction =
  | { readonly kind: 'send'; readonly bytes: Buffer }
  /** Look up an export, then call `exportAcquired` or `exportRefused`. Nothing is parsed until then. */
  | { readonly kind: 'acquire'; readonly name: string }
  /** Wait for what LIST shows, then call `exportsListed`. Nothing is parsed until then. */
  | { readonly kind: 'list'; readonly listings: Promise<readonly ExportListing[]> }
  /** Encrypt, then call `tlsStarted`. Nothing is parsed until then. */
  | { readonly kind: 'startTls' }
  /** Go on to requests. */
  | { readonly kind: 'transmit'; readonly lease: ExportLease; readonly agreed: Agreement }
  /** Hang up, after what was sent has gone out. */
  | { readonly kind: 'close'; readonly reason: string };

/** What a server makes of TLS. [nbd: TLS support] */
export const TlsMode = {
  /** There is none. [nbd: NOTLS mode] */
  Off: 'off',
  /** Clients may. [nbd: SELECTIVETLS mode] */
  On: 'on',
  /** Clients must. [nbd: FORCEDTLS mode] */
  Require: 'require',
} as const;
export type TlsMode = (typeof TlsMode)[keyof typeof TlsMode];

/** Why every option is refused: the server is on its way out, or has no room for this client. */
export interface Refusal {
  readonly replyType: OptionReplyType;
  readonly message: string;
  /** Hang up after the first option that is refused. Default: the client is to get the hint by itself. */
  readonly isFinal?: boolean;
}

/** What the answer to a question about an export is passed on to. */
export interface ExportInquiry {
  acquired(lease: ExportLease): void;
  refused(error: ExportRefusedError): void;
}

/** What a negotiation needs to know of its server. */
export interface NegotiationSetup {
  readonly limits: NbdLimits;
  /** What LIST shows. */
  readonly listExports: () => readonly ExportListing[] | Promise<readonly ExportListing[]>;
  readonly tlsMode: TlsMode;
  /** When set, options are answered with it from the start. */
  readonly refusal?: Refusal;
}

/** What has been agreed so far, and the means by which the options answer. */
export class NegotiationSession {
  readonly setup: NegotiationSetup;
  /** Whether the client said that it speaks fixed newstyle. */
  isFixedNewstyle = false;
  /** Whether the connection is encrypted. */
  isTls = false;
  /** Whether the client leaves out the padding after EXPORT_NAME. */
  hasNoZeroes = false;
  replyStyle: ReplyStyle = ReplyStyle.Simple;
  /** Set while an option waits for an export. */
  inquiry: ExportInquiry | undefined;
  /** Set while LIST waits for what it is to show. */
  listed: ((listings: readonly ExportListing[]) => void) | undefined;
  /** Exports that the client was shown by one LIST, at most. */
  shownCount = 0;
  /** The option that is being answered. */
  option = 0;
  /** True once nothing more is going to be negotiated. */
  isOver = false;
  /** True between the acknowledgement of STARTTLS and the first encrypted byte. */
  isStartingTls = false;
  #contexts: readonly MetaContext[] = [];
  /** The export that the contexts were selected for. */
  #contextsFor: string | undefined;
  #actions: NegotiationAction[] = [];

  constructor(setup: NegotiationSetup) {
    this.setup = setup;
  }

  /** What would hold if transmission of this export began now. Contexts count only for their own. [nbd-rule 17] */
  agreementFor(lease: ExportLease): Agreement {
    return {
      replyStyle: this.replyStyle,
      contexts: this.#contextsFor === lease.name ? this.#contexts : [],
    };
  }

  selectContexts(exportName: string, contexts: readonly MetaContext[]): void {
    this.#contextsFor = exportName;
    this.#contexts = contexts;
  }

  forgetContexts(): void {
    this.#contextsFor = undefined;
    this.#contexts = [];
  }

  /** Forgets all that was agreed in the clear, and waits for encryption. [nbd-rule 15; CVE-2021-3716] */
  startTls(): void {
    this.replyStyle = ReplyStyle.Simple;
    this.forgetContexts();
    this.isStartingTls = true;
    this.#actions.push({ kind: 'startTls' });
  }

  /** Hands over what is to be done, once. */
  takeActions(): NegotiationAction[] {
    const actions = this.#actions;
    this.#actions = [];
    return actions;
  }

  send(bytes: Buffer): void {
    this.#actions.push({ kind: 'send', bytes });
  }

  /** Answers the current option. */
  reply(type: OptionReplyType, data?: Uint8Array): void {
    this.send(encodeOptionReply(this.option, type, data));
  }

  /** Answers the current option with an error that a person can read. */
  refuse(type: OptionReplyType, message: string): void {
    this.reply(type, encodeString(message));
  }

  /** Asks for an export on behalf of the current option. */
  acquire(name: string, inquiry: ExportInquiry): void {
    this.inquiry = inquiry;
    this.#actions.push({ kind: 'acquire', name });
  }

  /** Finds out what LIST shows on behalf of the current option. */
  listExports(listed: (listings: readonly ExportListing[]) => void): void {
    const listings = this.setup.listExports();
    if (!(listings instanceof Promise)) {
      listed(listings);
      return;
    }
    this.listed = listed;
    this.#actions.push({ kind: 'list', listings });
  }

  /** Ends the handshake with success. */
  transmit(lease: ExportLease): void {
    this.isOver = true;
    this.#actions.push({ kind: 'transmit', lease, agreed: this.agreementFor(lease) });
  }

  /** Ends the handshake and the connection. */
  close(reason: string): void {
    this.isOver = true;
    this.#actions.push({ kind: 'close', reason });
  }
}

/** The reply that says why an export was refused. */
export function replyTypeOf(error: ExportRefusedError): OptionReplyType {
  switch (error.kind) {
    case 'unknown':
    case 'unavailable':
      return OptionReplyType.ErrUnknown;
    case 'policy':
      return OptionReplyType.ErrPolicy;
    case 'tlsRequired':
      return OptionReplyType.ErrTlsReqd;
  }
}
