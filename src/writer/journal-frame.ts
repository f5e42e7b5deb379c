import { crc32 } from 'node:zlib';
import { assert } from '../util/assert.js';

// A frame is what one append writes and one fdatasync makes durable; no frame is begun before the one before it is
// durable. So a broken frame with nothing after it was never promised to anybody, and one with a whole frame after it
// is damage.
//
// | bytes | what                                             |
// | 4     | magic "SNJF"                                     |
// | 4     | id of the journal file: random                   |
// | 6     | number of the frame in the file, from 0          |
// | 2     | reserved: 0                                      |
// | 4     | length of the payload in bytes                   |
// | 4     | CRC-32 of the 20 bytes above and the payload     |
// | n     | payload, padded with zeros to 512 bytes          |

const MAGIC = 0x534e_4a46;
const CRC_OFFSET = 20;

/** What comes before the payload. */
export const FRAME_HEADER_BYTES = 24;

/** Frames begin at multiples of this, so that no sector that has been synced is written again. */
export const FRAME_ALIGNMENT = 512;

/** The longest payload; what is longer goes into several frames. */
export const PAYLOAD_BYTES_MAX = 1024 * 1024;

/** A frame that was read. */
export interface DecodedFrame {
  readonly fileId: number;
  readonly frameNumber: number;
  readonly payload: Buffer;
  /** Where the next one begins. */
  readonly end: number;
}

/**
 * Makes a frame of a payload that is in its place, {@link FRAME_HEADER_BYTES} behind the beginning of `room`, which has to be
 * as long as {@link frameBytesOf} says. Returns the part of it that is the frame.
 */
export function sealFrame(room: Buffer, fileId: number, frameNumber: number, payloadBytes: number): Buffer {
  assert(payloadBytes <= PAYLOAD_BYTES_MAX, `a journal frame of ${payloadBytes} bytes`);
  const frame = room.subarray(0, frameBytesOf(payloadBytes));
  frame.writeUInt32BE(MAGIC, 0);
  frame.writeUInt32BE(fileId, 4);
  frame.writeUIntBE(frameNumber, 8, 6);
  frame.writeUInt16BE(0, 14);
  frame.writeUInt32BE(payloadBytes, 16);
  frame.fill(0, FRAME_HEADER_BYTES + payloadBytes);
  frame.writeUInt32BE(checksumOf(frame, 0, payloadBytes), CRC_OFFSET);
  return frame;
}

/** The frame that begins at `offset`, or undefined when there is none that is whole. */
export function decodeFrame(bytes: Buffer, offset: number): DecodedFrame | undefined {
  if (offset + FRAME_HEADER_BYTES > bytes.length || bytes.readUInt32BE(offset) !== MAGIC) return undefined;
  const lengthBytes = bytes.readUInt32BE(offset + 16);
  const end = offset + frameBytesOf(lengthBytes);
  const payloadStart = offset + FRAME_HEADER_BYTES;
  if (lengthBytes > PAYLOAD_BYTES_MAX || payloadStart + lengthBytes > bytes.length) return undefined;
  if (bytes.readUInt32BE(offset + CRC_OFFSET) !== checksumOf(bytes, offset, lengthBytes)) return undefined;
  return {
    fileId: bytes.readUInt32BE(offset + 4),
    frameNumber: bytes.readUIntBE(offset + 8, 6),
    payload: bytes.subarray(payloadStart, payloadStart + lengthBytes),
    end,
  };
}

/** How many bytes the frame of a payload takes. */
export function frameBytesOf(payloadBytes: number): number {
  return Math.ceil((FRAME_HEADER_BYTES + payloadBytes) / FRAME_ALIGNMENT) * FRAME_ALIGNMENT;
}

function checksumOf(bytes: Buffer, offset: number, payloadBytes: number): number {
  const head = crc32(bytes.subarray(offset, offset + CRC_OFFSET));
  const payloadStart = offset + FRAME_HEADER_BYTES;
  return crc32(bytes.subarray(payloadStart, payloadStart + payloadBytes), head);
}
