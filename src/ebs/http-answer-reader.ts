import {
  AnswerFormatError,
  AnswerTooLongError,
  parseHead,
  type AnswerHead,
  type BodyRoom,
  type ParsedHead,
  type RawAnswer,
} from './http-answer.js';

/** As much as Node's own parser takes for all headers. What of a body arrives with them is copied. */
const SCRATCH_BYTES = 16 * 1024;
const HEAD_START = Buffer.from('HTTP/1.');
const HEAD_END = Buffer.from('\r\n\r\n');
const LINE_END = Buffer.from('\r\n');
/** [RFC 9112: 7.1 Chunked Transfer Coding] A size, and an extension that nobody looks at. */
const CHUNK_LINE = /^([0-9a-f]{1,8})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/i;
const INTERIM_HEADS_MAX = 8;

const State = {
  Idle: 'idle',
  Head: 'head',
  /** Of a declared length, of a chunk, or up to the end of the connection: straight to its place. */
  Body: 'body',
  ChunkLine: 'chunk-line',
  ChunkEnd: 'chunk-end',
  Trailer: 'trailer',
  Done: 'done',
} as const;
type State = (typeof State)[keyof typeof State];

/**
 * Reads one answer of HTTP/1.1 after another, in bounded memory. Bytes go where {@link target} says, which in a body is
 * the place where they stay; {@link received} says how many came. Has no socket of its own.
 */
export class AnswerReader {
  readonly #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  #scratchBytes = 0;
  #state: State = State.Idle;
  #roomOf: (head: AnswerHead) => BodyRoom = () => ({ expectedBytes: 0, maxBytes: 0 });
  #head: ParsedHead | undefined;
  #body: Buffer = Buffer.alloc(0);
  #bodyBytes = 0;
  /** Where the part of the body ends that comes now. */
  #bodyEnd = 0;
  #bodyMaxBytes = 0;
  #interimCount = 0;
  #hasBegun = false;

  /** Something of the answer has arrived. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** The answer is complete. */
  get isDone(): boolean {
    return this.#state === State.Done;
  }

  /** After a complete answer: another request may go over the same connection. */
  get mayGoOn(): boolean {
    return this.isDone && this.#scratchBytes === 0 && this.#head?.keepsAlive === true;
  }

  /** Expects an answer. @param roomOf says how much room its body has, once its head is known. */
  begin(roomOf: (head: AnswerHead) => BodyRoom): void {
    this.#state = State.Head;
    this.#roomOf = roomOf;
    this.#head = undefined;
    this.#scratchBytes = 0;
    this.#interimCount = 0;
    this.#hasBegun = false;
  }

  /** Where the next bytes are to be put: at least one byte of room. */
  target(): Buffer {
    if (this.#state !== State.Body) return this.#scratch.subarray(this.#scratchBytes);
    if (this.#bodyBytes === this.#body.length) {
      // Whether it ends here is known by reading on.
      if (this.#bodyBytes >= this.#bodyMaxBytes) return this.#scratch;
      this.#grow(this.#bodyBytes + 1);
    }
    return this.#body.subarray(this.#bodyBytes, Math.min(this.#bodyEnd, this.#body.length));
  }

  /**
   * So many bytes are where {@link target} said.
   *
   * @throws {AnswerFormatError}, {AnswerTooLongError}: nothing more can be read from this connection.
   */
  received(countBytes: number): void {
    this.#hasBegun = true;
    if (this.#state === State.Body) {
      if (this.#bodyBytes === this.#body.length) throw this.#tooLong();
      this.#bodyBytes += countBytes;
      if (this.#bodyBytes === this.#bodyEnd) this.#endPart();
      return;
    }
    this.#scratchBytes += countBytes;
    this.#readScratch();
    if (this.#scratchBytes === SCRATCH_BYTES)
      throw new AnswerFormatError('the headers of the answer are too long');
  }

  /** The connection has ended. @returns true when that ends the answer as well; else it is cut. */
  end(): boolean {
    if (this.#state === State.Body && this.#head?.framing.kind === 'close') this.#state = State.Done;
    return this.isDone;
  }

  /** The complete answer. Its body is nobody else's. */
  take(): RawAnswer {
    if (this.#head === undefined || !this.isDone) throw new AnswerFormatError('the answer is not complete');
    const { status, headers } = this.#head;
    const body = this.#bodyBytes === this.#body.length ? this.#body : this.#body.subarray(0, this.#bodyBytes);
    this.#body = this.#scratch.subarray(0, 0);
    return { status, headers, body };
  }

  #readScratch(): void {
    let at = 0;
    for (;;) {
      const next = this.#step(at);
      if (next === undefined) break;
      at = next;
    }
    this.#scratch.copyWithin(0, at, this.#scratchBytes);
    this.#scratchBytes -= at;
  }

  /** Reads what begins at `at`. @returns where it ended, or undefined when there is not enough of it yet. */
  #step(at: number): number | undefined {
    switch (this.#state) {
      case State.Head:
        return this.#readHead(at);
      case State.Body:
        return this.#copyBody(at);
      case State.ChunkLine:
        return this.#readLine(at, (line) => this.#beginChunk(line));
      case State.ChunkEnd:
        return this.#readLine(at, (line) => {
          if (line !== '')
            throw new AnswerFormatError('a chunk of the answer has another length than it says');
          this.#state = State.ChunkLine;
        });
      case State.Trailer:
        return this.#readLine(at, (line) => {
          if (line === '') this.#state = State.Done;
        });
      case State.Idle:
      case State.Done:
        return undefined;
    }
  }

  #readHead(at: number): number | undefined {
    const end = this.#indexOf(HEAD_END, at);
    if (end < 0) {
      const start = this.#scratch.subarray(at, Math.min(this.#scratchBytes, at + HEAD_START.length));
      if (start.equals(HEAD_START.subarray(0, start.length))) return undefined;
      // Somebody who speaks another protocol may wait for more from this side.
      throw new AnswerFormatError('the answer does not begin as one of HTTP/1.1');
    }
    const head = parseHead(this.#scratch.toString('latin1', at, end));
    const next = end + HEAD_END.length;
    if (head.status < 200) {
      // [RFC 9110: 15.2 Informational] Only those that were asked for mean anything, and none was.
      this.#interimCount += 1;
      if (head.status === 101 || this.#interimCount > INTERIM_HEADS_MAX) {
        throw new AnswerFormatError(`the answer has the status ${head.status}`);
      }
      return next;
    }
    this.#head = head;
    this.#beginBody(head);
    return next;
  }

  #beginBody(head: ParsedHead): void {
    const { framing } = head;
    const room = this.#roomOf(head);
    const { maxBytes } = room;
    this.#bodyMaxBytes = maxBytes;
    this.#bodyBytes = 0;
    if (framing.kind === 'length') {
      if (framing.lengthBytes > maxBytes) throw new AnswerTooLongError(head, maxBytes);
      this.#body = bufferFor(room, framing.lengthBytes);
      this.#bodyEnd = framing.lengthBytes;
      this.#state = framing.lengthBytes === 0 ? State.Done : State.Body;
      return;
    }
    this.#body = bufferFor(room, maxBytes);
    this.#bodyEnd = framing.kind === 'close' ? Number.POSITIVE_INFINITY : 0;
    this.#state = framing.kind === 'close' ? State.Body : State.ChunkLine;
  }

  #beginChunk(line: string): void {
    const digits = CHUNK_LINE.exec(line)?.[1];
    if (digits === undefined) throw new AnswerFormatError('the size of a chunk cannot be read');
    const sizeBytes = Number.parseInt(digits, 16);
    this.#bodyEnd = this.#bodyBytes + sizeBytes;
    if (this.#bodyEnd > this.#bodyMaxBytes) throw this.#tooLong();
    if (this.#bodyEnd > this.#body.length) this.#grow(this.#bodyEnd);
    this.#state = sizeBytes === 0 ? State.Trailer : State.Body;
  }

  #copyBody(at: number): number | undefined {
    const countBytes = Math.min(this.#scratchBytes - at, this.#bodyEnd - this.#bodyBytes);
    if (countBytes === 0) return undefined;
    const needed = this.#bodyBytes + countBytes;
    if (needed > this.#body.length) this.#grow(needed);
    this.#body.set(this.#scratch.subarray(at, at + countBytes), this.#bodyBytes);
    this.#bodyBytes = needed;
    if (needed === this.#bodyEnd) this.#endPart();
    return at + countBytes;
  }

  #endPart(): void {
    this.#state = this.#head?.framing.kind === 'chunked' ? State.ChunkEnd : State.Done;
  }

  #grow(neededBytes: number): void {
    if (neededBytes > this.#bodyMaxBytes) throw this.#tooLong();
    const capacity = Math.min(
      this.#bodyMaxBytes,
      Math.max(neededBytes, 2 * this.#body.length, SCRATCH_BYTES),
    );
    const grown = Buffer.allocUnsafeSlow(capacity);
    grown.set(this.#body.subarray(0, this.#bodyBytes));
    this.#body = grown;
  }

  #tooLong(): AnswerTooLongError {
    return new AnswerTooLongError(this.#head ?? { status: 0, headers: new Map() }, this.#bodyMaxBytes);
  }

  #readLine(at: number, take: (line: string) => void): number | undefined {
    const end = this.#indexOf(LINE_END, at);
    if (end < 0) return undefined;
    take(this.#scratch.toString('latin1', at, end));
    return end + LINE_END.length;
  }

  #indexOf(wanted: Buffer, at: number): number {
    const found = this.#scratch.subarray(at, this.#scratchBytes).indexOf(wanted);
    return found < 0 ? -1 : at + found;
  }
}

/** A buffer for a body of at most so many bytes. */
function bufferFor({ expectedBytes, take }: BodyRoom, lengthBytes: number): Buffer {
  if (take !== undefined && lengthBytes >= expectedBytes) return take();
  // Not from the shared pool: a block may stay in the cache for long.
  return Buffer.allocUnsafeSlow(Math.min(lengthBytes, expectedBytes));
}
