import { constants, openSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Socket } from 'node:net';
import { imageError } from '../../transfer/transfer-error.js';
import { systemClock } from '../../util/clock.js';
import { systemCodeOf } from '../../util/errors.js';

// A named pipe that nobody serves holds whoever opens it, reads from it or writes to it as files are, in a thread of its
// own: not even the end of the process breaks that off. So they are opened without waiting, and polled as sockets are.

const READER_POLL_MS = 50;

/** @throws a system error when there is nothing at that path. */
export async function isNamedPipe(path: string): Promise<boolean> {
  return (await stat(path)).isFIFO();
}

/** What comes through a named pipe, also from somebody who opens it for writing later. @throws {EnvironmentError} */
export function readFromPipe(path: string): Socket {
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    return new Socket({ fd, readable: true, writable: false });
  } catch (error) {
    throw imageError('read', path, error);
  }
}

/**
 * Waits until somebody reads from a named pipe.
 *
 * @returns where to write.
 * @throws {EnvironmentError}; the signal's reason.
 */
export async function writeToPipe(path: string, signal: AbortSignal): Promise<Socket> {
  for (;;) {
    try {
      const fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
      return new Socket({ fd, readable: false, writable: true });
    } catch (error) {
      // [fifo(7)] No process has it open for reading.
      if (systemCodeOf(error) !== 'ENXIO') throw imageError('write', path, error);
    }
    await systemClock.sleep(READER_POLL_MS, signal);
  }
}
