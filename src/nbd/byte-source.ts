import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { KIB } from '../util/units.js';
import { BufferPool } from './buffer-pool.js';

/** One read of small requests brings some hundred of them, or fifteen writes of 4 KiB. */
const SCRATCH_BYTES = 64 * KIB;
/** 32 of the buffers that sockets are read into (2 MiB) are kept for later. */
const KEPT_SCRATCHES_MAX = 32;

/**
 * Buffers that sockets are read into, shared by all connections: each has one as long as it lasts. One of its own for each
 * client that comes and goes is what a garbage collector is busiest with.
 */
export class ScratchPool extends BufferPool {
  constructor() {
    super(SCRATCH_BYTES, KEPT_SCRATCHES_MAX);
  }
}

/** Whoever takes what a client sends. */
export interface ByteReceiver {
  /**
   * Bytes have come.
   *
   * @returns true when they are still referred to: their memory must be left alone then.
   */
  received(bytes: Buffer): boolean;
  /** Where the bytes that come next belong, if all that came is used up and a read of their own is worth it. */
  target(): Buffer | undefined;
  /** How much to read at most where there is no target, since what follows is likely to have one. Default: all there is. */
  wantedBytes?(): number | undefined;
  /** So many bytes have come to the beginning of {@link target}. */
  targetFilled(countBytes: number): void;
}

/**
 * Hands what arrives on a stream to a receiver.
 *
 * Node.js takes a fresh buffer of 64 KiB for each read of a socket, however little comes. For writes that alone costs more
 * than all the rest, so that a socket is read into one buffer again and again, and large payloads into their place.
 *
 * @returns the stream to go on with, in place of the one that was given.
 */
export function receiveFrom(stream: Duplex, receiver: ByteReceiver, scratches: ScratchPool): Duplex {
  const handle = stream instanceof Socket ? takeHandle(stream) : undefined;
  if (handle === undefined) {
    stream.on('data', (chunk: Buffer) => void receiver.received(chunk));
    return stream;
  }
  let scratch = scratches.take();
  let target: Buffer | undefined;
  const onread = {
    buffer: () => {
      target = receiver.target();
      return target ?? scratch.subarray(0, receiver.wantedBytes?.());
    },
    callback: (countBytes: number) => {
      if (target !== undefined) receiver.targetFilled(countBytes);
      else if (receiver.received(scratch.subarray(0, countBytes))) {
        scratch = scratches.take();
      }
      return true;
    },
  };
  const socket = new Socket({ handle, allowHalfOpen: true, onread } as ConstructorParameters<
    typeof Socket
  >[0]);
  return socket.once('close', () => scratches.give(scratch));
}

/**
 * Takes the system's side of an accepted socket out of it. Reading into buffers of one's own is documented for sockets
 * that connect, but a server makes its sockets without it; so the handle moves to a socket that was made with it.
 */
function takeHandle(socket: Socket): object | undefined {
  const holder = socket as unknown as { _handle?: object | null };
  const handle = holder._handle ?? undefined;
  if (handle === undefined) return undefined;
  holder._handle = null;
  // Lets its server know that it is gone.
  socket.destroy();
  return handle;
}
