import { Socket } from 'node:net';
import t from 'tap';
import { HttpConnection, type RawRequest, type ReadTarget } from '../../src/ebs/http-connection.js';

const SIGNAL = new AbortController().signal;
const ROOM = { expectedBytes: 16, maxBytes: 64 };
const REQUEST: RawRequest = {
  head: 'PUT / HTTP/1.1\r\ncontent-length: 5\r\n\r\n',
  body: Buffer.from('hello'),
  roomOf: () => ROOM,
};

/** A socket without a network: what is written goes nowhere, or stays. */
class FakeSocket extends Socket {
  isStuck = false;
  readonly written: string[] = [];

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.written.push(Buffer.concat(chunks.map(({ chunk }) => Buffer.from(chunk))).toString());
    if (!this.isStuck) done();
  }
}

async function open(
  socket: FakeSocket,
): Promise<{ connection: HttpConnection; say: (text: string) => boolean }> {
  let onread: ReadTarget | undefined;
  const connection = await HttpConnection.open(
    (target) => {
      onread = target;
      return Promise.resolve(socket);
    },
    () => undefined,
    SIGNAL,
  );
  const say = (text: string): boolean => {
    onread!.buffer().set(Buffer.from(text));
    return onread!.callback(text.length);
  };
  return { connection, say };
}

const ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

t.test('one request and its answer, and another', async (t) => {
  const socket = new FakeSocket();
  const { connection, say } = await open(socket);
  for (let round = 0; round < 2; round += 1) {
    const answer = connection.exchange(REQUEST);
    t.notOk(connection.isReusable);
    t.ok(say(ANSWER));
    t.equal((await answer).body.toString(), 'ok');
    t.ok(connection.isReusable);
  }
  t.same(socket.written, Array(2).fill(`${REQUEST.head}hello`));
});

t.test('an answer before the whole request has left: not used again', async (t) => {
  const socket = new FakeSocket();
  socket.isStuck = true;
  const { connection, say } = await open(socket);
  const answer = connection.exchange(REQUEST);
  // Two chunks are under way as one; more is behind them.
  socket.write('more');
  t.notOk(say(ANSWER), 'nothing more is read');
  t.equal((await answer).body.toString(), 'ok');
  t.notOk(connection.isReusable);
  t.ok(socket.destroyed);
});

t.test('what nobody asked for: not used again', async (t) => {
  const behind = await open(new FakeSocket());
  const answer = behind.connection.exchange(REQUEST);
  behind.say(ANSWER);
  t.notOk(behind.say('HTTP/1.1 200'), 'behind an answer, before the next request');
  await answer;
  t.notOk(behind.connection.isReusable);

  const idle = await open(new FakeSocket());
  t.notOk(idle.say(ANSWER), 'before the first request');
  t.notOk(idle.connection.isReusable);
  await t.rejects(idle.connection.exchange(REQUEST), { code: 'ECONNRESET' });
});

t.test('an end while nobody asks for anything is heard of', async (t) => {
  let ended = 0;
  const socket = new FakeSocket();
  const connection = await HttpConnection.open(
    () => Promise.resolve(socket),
    () => (ended += 1),
    SIGNAL,
  );
  socket.destroy();
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(ended, 1);
  t.notOk(connection.isReusable);
});
