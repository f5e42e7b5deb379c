import { connect, type Socket } from 'node:net';
import type { Random } from './random.js';

/** How a client that misbehaves leaves. */
const Ending = {
  /** It has no more to say, and reads until the server hangs up. */
  HalfClose: 0,
  /** It is gone as soon as all is said. */
  Vanish: 1,
  /** It goes when the first answer comes. */
  VanishOnAnswer: 2,
  /** It does not read at all for a moment, then goes on. */
  ReadLate: 3,
  /** By TCP: an abortive end. */
  Reset: 4,
} as const;

/** A client that reads late does so after this long, and one that waits for an answer waits no longer, in ms. */
const MOMENT_MS = 20;

/** Where the server listens. */
export interface Addresses {
  readonly socketPath: string;
  readonly port: number;
}

/** What came back, to be looked through. */
export type Listener = (chunk: Buffer) => void;

/**
 * Says the messages of an input on a connection of its own, in pieces, and leaves. Resolves when the server has ended it.
 *
 * @param live has the connection in it as long as that lasts, for those who want to end it.
 * @throws {Error} when the server cannot be connected to.
 */
export async function play(
  messages: readonly Buffer[],
  addresses: Addresses,
  random: Random,
  onData: Listener,
  live: Set<Socket>,
): Promise<void> {
  const isTcp = random.oneIn(4);
  const ending = random.pick([
    ...[Ending.HalfClose, Ending.HalfClose, Ending.HalfClose, Ending.Vanish, Ending.VanishOnAnswer],
    random.oneIn(4) ? Ending.ReadLate : Ending.HalfClose,
    isTcp ? Ending.Reset : Ending.Vanish,
  ]);
  const socket = isTcp ? connect(addresses.port, '127.0.0.1') : connect(addresses.socketPath);
  live.add(socket);
  const closed = closeOf(socket);
  if (ending !== Ending.ReadLate) socket.on('data', onData);
  try {
    const said = say(socket, piecesOf(messages, random)).then(() => leave(socket, ending, onData));
    await Promise.all([said, closed]);
  } finally {
    live.delete(socket);
    socket.destroy();
  }
}

/** Resolves when the socket is gone, for whatever reason but ours. */
function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.on('error', (error) => {
      // The server may hang up on what it is told while it is told more of it.
      if (!('code' in error) || !['ECONNRESET', 'EPIPE'].includes(String(error.code))) reject(error);
    });
    socket.once('close', () => resolve());
  });
}

async function say(socket: Socket, pieces: readonly Buffer[]): Promise<void> {
  for (const [index, piece] of pieces.entries()) {
    if (socket.destroyed) return;
    if (index > 0) await new Promise((resolve) => setImmediate(resolve));
    socket.write(piece);
  }
}

async function leave(socket: Socket, ending: number, onData: Listener): Promise<void> {
  const moment = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, MOMENT_MS));
  switch (ending) {
    case Ending.Vanish:
      await new Promise((resolve) => setImmediate(resolve));
      socket.destroy();
      return;
    case Ending.VanishOnAnswer:
      await Promise.race([new Promise((resolve) => socket.once('data', resolve)), moment()]);
      socket.destroy();
      return;
    case Ending.Reset:
      await moment();
      socket.resetAndDestroy();
      return;
    case Ending.ReadLate:
      await moment();
      socket.on('data', onData);
      socket.end();
      return;
    default:
      socket.end();
  }
}

/** Whole, or cut anywhere, or message by message, or, seldom since it is slow, the beginning byte by byte. */
function piecesOf(messages: readonly Buffer[], random: Random): readonly Buffer[] {
  const whole = Buffer.concat(messages);
  switch (random.below(32)) {
    case 0: {
      const head = Math.min(whole.length, 48);
      const bytes = Array.from({ length: head }, (_, index) => whole.subarray(index, index + 1));
      return [...bytes, whole.subarray(head)];
    }
    case 1:
    case 2:
    case 3:
      return messages.length <= 32 ? messages : [whole];
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
    case 9: {
      const cut = random.below(whole.length + 1);
      return [whole.subarray(0, cut), whole.subarray(cut)];
    }
    default:
      return [whole];
  }
}
