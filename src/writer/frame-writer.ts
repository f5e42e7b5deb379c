import { AssertionError } from '../util/assert.js';
import { KIB } from '../util/units.js';
import { FRAME_HEADER_BYTES, frameBytesOf, PAYLOAD_BYTES_MAX, sealFrame } from './journal-frame.js';
import { encodeRecord, recordBytesMax, type JournalRecord } from './journal-record.js';

/** A flush of 16 writes of 4 KiB fits in. */
const ROOM_BYTES_MIN = 128 * KIB;
const ROOM_BYTES_MAX = frameBytesOf(PAYLOAD_BYTES_MAX);

/** Makes frames of records, in memory that is used again for each. */
export class FrameWriter {
  #room = Buffer.allocUnsafeSlow(ROOM_BYTES_MIN);

  /**
   * The frames that the records need, in order, each of at most a MiB; a record never spans two. A frame is good until
   * the next one is asked for.
   */
  *frames(
    records: Iterable<JournalRecord>,
    fileId: number,
    firstFrameNumber: number,
  ): Generator<Buffer, void> {
    let frameNumber = firstFrameNumber;
    let end = FRAME_HEADER_BYTES;
    for (const record of records) {
      const neededBytes = recordBytesMax(record);
      if (neededBytes > PAYLOAD_BYTES_MAX)
        throw new AssertionError(`a journal record of ${neededBytes} bytes`);
      if (end + neededBytes > FRAME_HEADER_BYTES + PAYLOAD_BYTES_MAX) {
        yield sealFrame(this.#room, fileId, frameNumber, end - FRAME_HEADER_BYTES);
        frameNumber += 1;
        end = FRAME_HEADER_BYTES;
      }
      // The padding has to fit as well.
      const roomBytes = frameBytesOf(end + neededBytes);
      if (roomBytes > this.#room.length) this.#grow(roomBytes, end);
      end = encodeRecord(record, this.#room, end);
    }
    if (end > FRAME_HEADER_BYTES) {
      yield sealFrame(this.#room, fileId, frameNumber, end - FRAME_HEADER_BYTES);
    }
  }

  #grow(neededBytes: number, usedBytes: number): void {
    const doubled = Math.min(ROOM_BYTES_MAX, 2 * this.#room.length);
    const room = Buffer.allocUnsafeSlow(Math.max(neededBytes, doubled));
    this.#room.copy(room, 0, 0, usedBytes);
    this.#room = room;
  }
}
