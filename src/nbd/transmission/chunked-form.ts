import type { ReadChunk, ReadResult } from '../../device/block-device.js';
import {
  encodeBlockStatus,
  encodeBlockStatusExt,
  type BlockStatusChunk,
} from '../codec/block-status-chunk.js';
import { encodeErrorChunk } from '../codec/error-chunk.js';
import { encodeExtendedHeader, EXTENDED_HEADER_BYTES } from '../codec/extended-header.js';
import {
  encodeOffsetDataHeader,
  encodeOffsetHole,
  OFFSET_DATA_HEADER_BYTES,
  OFFSET_HOLE_BYTES,
} from '../codec/read-chunks.js';
import type { RequestHeader } from '../codec/request-header.js';
import { encodeStructuredHeader, STRUCTURED_HEADER_BYTES } from '../codec/structured-header.js';
import { CommandFlag, ReplyFlag, ReplyType } from '../transmission-constants.js';
import type { ReplyFailure, ReplyForm } from './reply-form.js';
import type { ReplyWriter } from './reply-writer.js';
import { writeData } from './simple-form.js';

/** Zeros shorter than this are sent as data: chunks should be multiples of 512 bytes, and cost a header each. */
const HOLE_BYTES_MIN = 512;

/** The two headers that a chunk can have. */
interface ChunkStyle {
  readonly headerBytes: number;
  readonly encodeHeader: typeof encodeStructuredHeader;
  readonly statusType: number;
  readonly encodeStatus: (chunk: BlockStatusChunk) => Buffer;
}

/** Replies in chunks with headers of 20 bytes. [nbd: Structured reply chunk message] */
export const structuredForm = chunkedForm({
  headerBytes: STRUCTURED_HEADER_BYTES,
  encodeHeader: encodeStructuredHeader,
  statusType: ReplyType.BlockStatus,
  encodeStatus: encodeBlockStatus,
});

/** Replies in chunks with headers of 32 bytes that repeat the offset. [nbd: Extended reply chunk message; nbd-rule 18] */
export const extendedForm = chunkedForm({
  headerBytes: EXTENDED_HEADER_BYTES,
  encodeHeader: encodeExtendedHeader,
  statusType: ReplyType.BlockStatusExt,
  encodeStatus: encodeBlockStatusExt,
});

/**
 * Replies in chunks. A READ is answered by them whatever becomes of it, also by an EINVAL. [nbd-rule 21] All data are
 * there before the first chunk is made, so that the last content chunk can carry DONE.
 */
function chunkedForm(style: ChunkStyle): ReplyForm {
  const { headerBytes, encodeHeader } = style;

  const writeChunk = (
    writer: ReplyWriter,
    request: RequestHeader,
    type: number,
    payload: Buffer,
    flags: number,
  ): void => {
    encodeHeader(writer.reserve(headerBytes), writer.at, flags, type, request, payload.length);
    writer.commit(headerBytes);
    writer.append(payload);
  };

  const writeDataChunk = (writer: ReplyWriter, request: RequestHeader, piece: Piece, flags: number): void => {
    const bytes = writer.reserve(headerBytes + OFFSET_DATA_HEADER_BYTES);
    const payloadBytes = OFFSET_DATA_HEADER_BYTES + piece.lengthBytes;
    encodeHeader(bytes, writer.at, flags, ReplyType.OffsetData, request, payloadBytes);
    encodeOffsetDataHeader(bytes, writer.at + headerBytes, piece.offset);
    writer.commit(headerBytes + OFFSET_DATA_HEADER_BYTES);
    writeData(writer, piece.chunks);
  };

  const writeHoleChunk = (writer: ReplyWriter, request: RequestHeader, piece: Piece, flags: number): void => {
    const bytes = writer.reserve(headerBytes + OFFSET_HOLE_BYTES);
    encodeHeader(bytes, writer.at, flags, ReplyType.OffsetHole, request, OFFSET_HOLE_BYTES);
    encodeOffsetHole(bytes, writer.at + headerBytes, piece);
    writer.commit(headerBytes + OFFSET_HOLE_BYTES);
  };

  const writeNone = (writer: ReplyWriter, request: RequestHeader): void => {
    // [nbd: NBD_REPLY_TYPE_NONE] Always the last.
    writeChunk(writer, request, ReplyType.None, EMPTY, ReplyFlag.Done);
  };

  return {
    dataHeaderBytes: headerBytes + OFFSET_DATA_HEADER_BYTES,

    encodeDataHeader(bytes, at, request) {
      const payloadBytes = OFFSET_DATA_HEADER_BYTES + request.lengthBytes;
      encodeHeader(bytes, at, ReplyFlag.Done, ReplyType.OffsetData, request, payloadBytes);
      encodeOffsetDataHeader(bytes, at + headerBytes, request.offset);
    },

    data(writer, request, result) {
      const pieces = piecesOf(request, result);
      if (pieces.length === 0) writeNone(writer, request);
      // DONE on the last only. [nbd-rule 28]
      pieces.forEach((piece, index) => {
        const flags = index === pieces.length - 1 ? ReplyFlag.Done : 0;
        if (piece.isHole) writeHoleChunk(writer, request, piece, flags);
        else writeDataChunk(writer, request, piece, flags);
      });
    },

    blockStatus(writer, request, chunks) {
      // [nbd: NBD_CMD_BLOCK_STATUS] One chunk for each context. [nbd-rule 32]
      chunks.forEach((chunk, index) => {
        const flags = index === chunks.length - 1 ? ReplyFlag.Done : 0;
        writeChunk(writer, request, style.statusType, style.encodeStatus(chunk), flags);
      });
    },

    success: writeNone,

    failure(writer, request, failure) {
      const type = isWithinRequest(request, failure) ? ReplyType.ErrorOffset : ReplyType.Error;
      const { error, message, offset } = failure;
      const chunk = type === ReplyType.ErrorOffset && offset !== undefined ? { offset } : {};
      writeChunk(writer, request, type, encodeErrorChunk({ error, message, ...chunk }), ReplyFlag.Done);
    },
  };
}

/** A part of a read that becomes one chunk. */
interface Piece {
  readonly isHole: boolean;
  readonly offset: number;
  lengthBytes: number;
  readonly chunks: ReadChunk[];
}

/**
 * Groups what a device returned into as few chunks as there can be, each byte in exactly one: runs of data, and holes.
 * With DF it is one chunk of data, zeros written out. [nbd: NBD_CMD_FLAG_DF; nbd-rule 27, 28]
 */
function piecesOf(request: RequestHeader, result: ReadResult): readonly Piece[] {
  const isUnfragmented = (request.flags & CommandFlag.Df) !== 0;
  const pieces: Piece[] = [];
  let { offset } = request;
  for (const chunk of result) {
    const isZeros = 'zeroBytes' in chunk;
    const lengthBytes = isZeros ? chunk.zeroBytes : chunk.length;
    const isHole = isZeros && !isUnfragmented && lengthBytes >= HOLE_BYTES_MIN;
    const last = pieces.at(-1);
    if (last?.isHole === isHole) {
      last.lengthBytes += lengthBytes;
      last.chunks.push(chunk);
    } else {
      pieces.push({ isHole, offset, lengthBytes, chunks: [chunk] });
    }
    offset += lengthBytes;
  }
  return pieces;
}

/** An error has a place in the reply only within the range of its request. [nbd: NBD_REPLY_TYPE_ERROR_OFFSET] */
function isWithinRequest(request: RequestHeader, { offset }: ReplyFailure): boolean {
  return offset !== undefined && offset >= request.offset && offset < request.offset + request.lengthBytes;
}

const EMPTY = Buffer.alloc(0);
