import type { ReadResult } from '../../device/block-device.js';
import type { BlockStatusChunk } from '../codec/block-status-chunk.js';
import type { RequestHeader } from '../codec/request-header.js';
import type { WireError } from '../transmission-constants.js';
import type { ReplyWriter } from './reply-writer.js';

/** What a failed request is answered with. */
export interface ReplyFailure {
  readonly error: WireError;
  /** For people; simple replies have no room for it. */
  readonly message: string;
  /** Where it happened, within the request, if that is known. */
  readonly offset?: number | undefined;
}

/** How replies look: simple, in chunks, or in extended chunks. Each method adds one whole reply. */
export interface ReplyForm {
  /** Bytes in front of the data of a READ that is answered in one piece. */
  readonly dataHeaderBytes: number;
  /** Writes them: the header of a reply whose data are the whole of the request. */
  encodeDataHeader(bytes: Buffer, at: number, request: RequestHeader): void;
  /** Answers a READ; the pieces add up to what was asked for. */
  data(writer: ReplyWriter, request: RequestHeader, result: ReadResult): void;
  /** Answers a BLOCK_STATUS: a chunk for each context, at least one. */
  blockStatus(writer: ReplyWriter, request: RequestHeader, chunks: readonly BlockStatusChunk[]): void;
  /** Answers any other command with success. */
  success(writer: ReplyWriter, request: RequestHeader): void;
  /** Answers any command with an error. */
  failure(writer: ReplyWriter, request: RequestHeader, failure: ReplyFailure): void;
}
