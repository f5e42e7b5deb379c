/** The head of an answer. */
export interface AnswerHead {
  /** From 200 to 599 and beyond; interim answers (1xx) are passed over. */
  readonly status: number;
  /** By name in lower case; several of one name are joined by ", ". */
  readonly headers: ReadonlyMap<string, string>;
}

/** A whole answer. */
export interface RawAnswer extends AnswerHead {
  readonly body: Buffer;
}

/** How much of a body is expected, and how much is taken at most. */
export interface BodyRoom {
  /** Allocated at once, unless the body says that it is shorter. */
  readonly expectedBytes: number;
  readonly maxBytes: number;
  /** Gives a buffer of `expectedBytes`, for a body that is not known to be shorter. Default: a new one. */
  readonly take?: () => Buffer;
}

/** What came is not HTTP/1.1, or goes beyond what this reader takes. Its code begins as those of Node's own parser. */
export class AnswerFormatError extends Error {
  override readonly name = 'AnswerFormatError';
  readonly code = 'HPE_INVALID_ANSWER';
}

/** The body is longer than there is room for. */
export class AnswerTooLongError extends Error {
  override readonly name = 'AnswerTooLongError';
  readonly head: AnswerHead;
  readonly maxBytes: number;

  constructor(head: AnswerHead, maxBytes: number) {
    super(`the answer is longer than ${maxBytes} bytes`);
    this.head = head;
    this.maxBytes = maxBytes;
  }
}

/** How the end of a body is found. [RFC 9112: 6.3 Message Body Length] */
export type BodyFraming =
  | { readonly kind: 'length'; readonly lengthBytes: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'close' };

/** A head with what concerns the connection. */
export interface ParsedHead extends AnswerHead {
  readonly framing: BodyFraming;
  /** The connection may be used again after it. */
  readonly keepsAlive: boolean;
}

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const FIELD_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)$/;
/** A length of more digits would be beyond any bound here, and beyond what can be counted exactly. */
const LENGTH_TEXT = /^\d{1,15}$/;
const NO_BODY_STATUSES: ReadonlySet<number> = new Set([204, 304]);

/**
 * Reads the head of an answer, strictly: folded lines, lone line feeds, several lengths, and a length beside chunks are
 * refused. [RFC 9112: 4 Status Line] [RFC 9112: 5 Field Syntax]
 *
 * @param text as latin1, from the status line to the last field, without the empty line after it.
 * @throws {AnswerFormatError}
 */
export function parseHead(text: string): ParsedHead {
  const [statusLine = '', ...fieldLines] = text.split('\r\n');
  const match = STATUS_LINE.exec(statusLine);
  if (match === null) throw new AnswerFormatError('the answer does not begin as one of HTTP/1.1');
  const status = Number(match[2]);
  const headers = new Map<string, string>();
  for (const line of fieldLines) {
    const [, name, value] = FIELD_LINE.exec(line) ?? [];
    if (name === undefined || value === undefined) {
      throw new AnswerFormatError('a header of the answer cannot be read');
    }
    const key = name.toLowerCase();
    const before = headers.get(key);
    const trimmed = value.trimEnd();
    headers.set(key, before === undefined ? trimmed : `${before}, ${trimmed}`);
  }
  const framing = framingOf(status, headers);
  const connection = headers.get('connection')?.toLowerCase() ?? '';
  const wants = (word: string): boolean => connection.split(',').some((part) => part.trim() === word);
  const keepsAlive = framing.kind !== 'close' && (match[1] === '1' ? !wants('close') : wants('keep-alive'));
  return { status, headers, framing, keepsAlive };
}

function framingOf(status: number, headers: ReadonlyMap<string, string>): BodyFraming {
  const length = headers.get('content-length');
  const coding = headers.get('transfer-encoding');
  if (length !== undefined && !LENGTH_TEXT.test(length)) {
    throw new AnswerFormatError(`the answer has the Content-Length "${length}"`);
  }
  if (status < 200 || NO_BODY_STATUSES.has(status)) return { kind: 'length', lengthBytes: 0 };
  if (coding !== undefined) {
    if (length !== undefined) throw new AnswerFormatError('the answer has a length and is chunked as well');
    if (coding.toLowerCase() !== 'chunked') {
      throw new AnswerFormatError(`the answer has the Transfer-Encoding "${coding}"`);
    }
    return { kind: 'chunked' };
  }
  return length === undefined ? { kind: 'close' } : { kind: 'length', lengthBytes: Number(length) };
}
