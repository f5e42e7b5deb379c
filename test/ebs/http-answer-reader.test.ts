import fc from 'fast-check';
import t from 'tap';
import {
  AnswerFormatError,
  AnswerTooLongError,
  type BodyRoom,
  type RawAnswer,
} from '../../src/ebs/http-answer.js';
import { AnswerReader } from '../../src/ebs/http-answer-reader.js';

const ROOM: BodyRoom = { expectedBytes: 8, maxBytes: 64 };

/** What became of feeding `pieces` and then, if it is not done, the end of the connection. */
interface Fed {
  readonly answer?: RawAnswer;
  readonly mayGoOn?: boolean;
  readonly failure?: 'format' | 'too-long' | 'cut';
}

function feed(reader: AnswerReader, pieces: Iterable<Uint8Array>, room = ROOM): Fed {
  reader.begin(() => room);
  try {
    for (const piece of pieces) {
      for (let at = 0; at < piece.length;) {
        const target = reader.target();
        const count = Math.min(target.length, piece.length - at);
        target.set(piece.subarray(at, at + count));
        reader.received(count);
        at += count;
      }
    }
    const { mayGoOn } = reader;
    return reader.isDone || reader.end() ? { answer: reader.take(), mayGoOn } : { failure: 'cut' };
  } catch (error) {
    if (error instanceof AnswerTooLongError) return { failure: 'too-long' };
    if (error instanceof AnswerFormatError) return { failure: 'format' };
    throw error;
  }
}

function split(bytes: Buffer, at: number): Uint8Array[] {
  return [bytes.subarray(0, at), bytes.subarray(at)];
}

function plain(fed: Fed): object {
  const { answer } = fed;
  if (answer === undefined) return fed;
  return {
    ...fed,
    answer: [answer.status, Object.fromEntries(answer.headers), answer.body.toString('latin1')],
  };
}

const HELLO = { 'content-length': '5' };
const GOOD: readonly [
  name: string,
  text: string,
  status: number,
  headers: object,
  body: string,
  goesOn: boolean,
][] = [
  ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', 200, HELLO, 'hello', true],
  ['no reason', 'HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello', 200, HELLO, 'hello', true],
  ['no body', 'HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n', 201, { 'content-length': '0' }, '', true],
  ['204', 'HTTP/1.1 204 No Content\r\n\r\n', 204, {}, '', true],
  [
    'connection: close',
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: Close\r\n\r\nhello',
    200,
    { ...HELLO, connection: 'Close' },
    'hello',
    false,
  ],
  ['HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello', 200, HELLO, 'hello', false],
  [
    'HTTP/1.0 that stays',
    'HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello',
    200,
    { ...HELLO, connection: 'keep-alive' },
    'hello',
    true,
  ],
  ['up to the end', 'HTTP/1.1 500 Oops\r\nServer: x\r\n\r\nhello', 500, { server: 'x' }, 'hello', false],
  [
    'chunks, an extension and a trailer',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nhel\r\n00A;x="y"\r\nlo and bye\r\n0\r\nX-Sum: 1\r\n\r\n',
    200,
    { 'transfer-encoding': 'Chunked' },
    'hello and bye',
    true,
  ],
  [
    'an interim answer before it',
    'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    200,
    HELLO,
    'hello',
    true,
  ],
  [
    'several of a name, white space around',
    'HTTP/1.1 200 OK\r\nX-A:  one \t\r\nx-a:two\r\nX-Empty:\r\nContent-Length: 5\r\n\r\nhello',
    200,
    { 'x-a': 'one, two', 'x-empty': '', ...HELLO },
    'hello',
    true,
  ],
];

t.test('[RFC 9112] answers: whole, byte by byte, at every split, one after another', async (t) => {
  for (const [name, text, status, headers, body, goesOn] of GOOD) {
    const bytes = Buffer.from(text, 'latin1');
    const expected = { answer: [status, headers, body], mayGoOn: goesOn && !name.startsWith('up to') };
    const reader = new AnswerReader();
    t.strictSame(plain(feed(reader, [bytes])), expected, name);
    const single = Array.from(bytes, (byte) => Buffer.of(byte));
    t.strictSame(plain(feed(reader, single)), expected, `${name}, byte by byte, by the same reader`);
    let isSame = true;
    for (let at = 1; at < bytes.length; at += 1) {
      const fed = plain(feed(new AnswerReader(), split(bytes, at)));
      isSame &&= JSON.stringify(fed) === JSON.stringify(expected);
    }
    t.ok(isSame, `${name}, at every split`);
    for (let at = 0; at < bytes.length; at += 1) {
      const { failure, answer } = feed(new AnswerReader(), [bytes.subarray(0, at)]);
      const ok = name === 'up to the end' && at > bytes.indexOf('\r\n\r\n') + 3 ? answer : failure === 'cut';
      if (!ok) t.fail(`${name}, cut after ${at} bytes: ${failure ?? 'an answer'}`);
    }
  }
});

t.test('[RFC 9112] what is not an answer, or too much of one', async (t) => {
  const head = 'HTTP/1.1 200 OK\r\n';
  const faults: readonly [text: string, failure: string][] = [
    ['SSH-2.0-OpenSSH_9.2\r\n\r\n', 'format'],
    ['HTTP/2 200\r\n\r\n', 'format'],
    ['HTTP/1.1 20 OK\r\n\r\n', 'format'],
    ['HTTP/1.1 099 OK\r\n\r\n', 'format'],
    ['HTTP/1.1 101 Switching Protocols\r\n\r\n', 'format'],
    ['HTTP/1.1 100 Continue\r\n\r\n'.repeat(20), 'format'],
    [`${head}no colon\r\n\r\n`, 'format'],
    [`${head}spa ce: x\r\n\r\n`, 'format'],
    [`${head}X-A: one\r\n two\r\n\r\n`, 'format'],
    [`${head}X-A: one\nX-B: two\r\n\r\n`, 'format'],
    [`${head}X-A: \0\r\n\r\n`, 'format'],
    [`${head}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`, 'format'],
    [`${head}Content-Length: -5\r\n\r\nhello`, 'format'],
    [`${head}Content-Length: 1e1\r\n\r\nhello`, 'format'],
    [`${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 'format'],
    [`${head}Transfer-Encoding: gzip\r\n\r\n`, 'format'],
    [`${head}Transfer-Encoding: chunked\r\n\r\nx\r\n`, 'format'],
    [`${head}Transfer-Encoding: chunked\r\n\r\n-1\r\n`, 'format'],
    [`${head}Transfer-Encoding: chunked\r\n\r\n123456789\r\n`, 'format'],
    [`${head}Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n`, 'format'],
    [`${head}X: ${'x'.repeat(20_000)}`, 'format'],
    [`${head}Content-Length: 65\r\n\r\n`, 'too-long'],
    [`${head}Content-Length: 999999999999999\r\n\r\n`, 'too-long'],
    [`${head}Transfer-Encoding: chunked\r\n\r\nffffffff\r\n`, 'too-long'],
    [`${head}Transfer-Encoding: chunked\r\n\r\n${'20\r\n' + 'x'.repeat(32) + '\r\n'}21\r\n`, 'too-long'],
    [`${head}Server: x\r\n\r\n${'x'.repeat(65)}`, 'too-long'],
  ];
  for (const [text, failure] of faults) {
    const bytes = Buffer.from(text, 'latin1');
    t.equal(feed(new AnswerReader(), [bytes]).failure, failure, JSON.stringify(text.slice(0, 70)));
    t.equal(
      feed(
        new AnswerReader(),
        Array.from(bytes, (byte) => Buffer.of(byte)),
      ).failure,
      failure,
    );
  }
});

t.test('what comes after an answer: the connection is not used again', async (t) => {
  const reader = new AnswerReader();
  const fed = feed(reader, [Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1')]);
  t.equal(fed.answer?.body.toString(), 'hello');
  t.equal(fed.mayGoOn, false);
});

t.test('a body is read to its place, in a buffer of its own', async (t) => {
  const body = Buffer.alloc(524_288, 'block');
  const room = { expectedBytes: 524_288, maxBytes: 524_288 };
  const head = Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 524288\r\n\r\n');
  const reader = new AnswerReader();
  reader.begin(() => room);
  reader.target().set(head);
  reader.received(head.length);
  const target = reader.target();
  t.equal(target.length, 524_288, 'all of it in one piece, if the socket has it');
  target.set(body);
  reader.received(body.length);
  const { body: read } = reader.take();
  t.ok(read.equals(body));
  t.equal(read.buffer, target.buffer);
  t.equal(read.buffer.byteLength, 524_288);
  const second = feed(reader, [head, body], room).answer?.body;
  t.not(second?.buffer, read.buffer, 'the next one in another');
});

t.test(
  'any bytes, in any pieces: an answer, a failure, or more is wanted, and always the same',
  async (t) => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc
        .tuple(fc.constantFrom(...GOOD.map(([, text]) => text)), fc.nat(), fc.nat(255))
        .map(([text, at, byte]) => {
          const bytes = Buffer.from(text, 'latin1');
          bytes[at % bytes.length] = byte;
          return bytes;
        }),
    );
    fc.assert(
      fc.property(anything, fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), (bytes, sizes) => {
        const pieces: Uint8Array[] = [];
        for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
          const size = sizes[turn % sizes.length]!;
          pieces.push(bytes.subarray(at, at + size));
          at += size;
        }
        const whole = plain(feed(new AnswerReader(), [bytes]));
        t.strictSame(plain(feed(new AnswerReader(), pieces)), whole, { diagnostic: false });
      }),
      { seed: 20, numRuns: 400 },
    );
  },
);
