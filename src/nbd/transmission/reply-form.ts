import type { ReadResult } from '../../device/block-device.js';
import type { RequestHeader } from '../codec/request-header.js';
import type { WireError } from '../transmission-constants.js';
import type { ReplyWriter } from './reply-writer.js';

/** How replies look: simple, in chunks, or in extended chunks. Each method adds one whole reply. */
export interface ReplyForm {
  /** Bytes in front of the data of a READ that is answered in one piece. */
  readonly dataHeaderBytes: number;
  /** Writes them: the header of a reply whose data are the whole of the request. */
  encodeDataHeader(bytes: Buffer, at: number, request: RequestHeader): void;
  /** Answers a READ; the pieces add up to what was asked for. */
  data(writer: ReplyWriter, request: RequestHeader, result: ReadResult): void;
  /** Answers any other command with success. */
  success(writer: ReplyWriter, request: RequestHeader): void;
  /** Answers any command with an error. `message` is for people, and not every form has room for it. */
  failure(writer: ReplyWriter, request: RequestHeader, error: WireError, message: string): void;
}
