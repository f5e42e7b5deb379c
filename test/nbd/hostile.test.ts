// Whatever a peer sends, in whatever pieces, and whenever it hangs up: no uncaught error, bounded memory, and never a
// byte of somebody else's.
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { BlockDevice, ReadResult } from '../../src/device/block-device.js';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { settle } from '../fixtures/manual-clock.js';
import {
  CMD,
  contextData,
  extendedRequestBytes,
  infoData,
  OPT,
  optionBytes,
  requestBytes,
  u32,
} from '../fixtures/nbd-bytes.js';
import { openConnection, type TestConnection } from '../fixtures/nbd-connection.js';
import { freshSeed } from '../fixtures/seeded.js';

/** Each property is tried this often; `scripts/` has a driver that goes on for as long as it is told to. */
const RUNS = 150;

const SECRET = 'SECRETSECRETSECRET';
const SIZE = 2 ** 18;

/** A seed for fast-check, said out loud. */
function seedFor(t: Test): { seed: number; numRuns: number } {
  const seed = Number.parseInt(freshSeed().slice(0, 7), 16);
  t.comment(`seed: ${seed}`);
  return { seed, numRuns: RUNS };
}

const bytes = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));

const interesting = fc.oneof(
  fc.constantFrom(
    0n,
    1n,
    511n,
    512n,
    4096n,
    BigInt(SIZE) - 1n,
    BigInt(SIZE),
    2n ** 32n - 1n,
    2n ** 53n,
    2n ** 64n - 1n,
  ),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.bigInt({ min: 0n, max: BigInt(SIZE) }),
);

/** Options, right and wrong. */
const option: fc.Arbitrary<Buffer> = fc.oneof(
  fc.constantFrom(
    optionBytes(OPT.LIST),
    optionBytes(OPT.STRUCTURED_REPLY),
    optionBytes(OPT.EXTENDED_HEADERS),
    optionBytes(OPT.STARTTLS),
    optionBytes(OPT.GO, infoData('disk', [0, 1, 2, 3])),
    optionBytes(OPT.INFO, infoData('', [3])),
    optionBytes(OPT.GO, infoData('nobody')),
    optionBytes(OPT.EXPORT_NAME, Buffer.from('disk')),
    optionBytes(OPT.SET_META_CONTEXT, contextData('disk', ['base:allocation'])),
    optionBytes(OPT.LIST_META_CONTEXT, contextData('', [])),
  ),
  fc.tuple(fc.nat(13), bytes(300)).map(([type, data]) => optionBytes(type, data)),
  fc.tuple(fc.nat(13), bytes(20), fc.nat()).map(([type, data, length]) => optionBytes(type, data, length)),
  fc
    .tuple(fc.nat(11), bytes(40))
    .map(([type, name]) => optionBytes(type, Buffer.concat([u32(name.length), name, u32(0)]))),
);

/** Requests, right and wrong, compact and extended. */
const request: fc.Arbitrary<Buffer> = fc
  .record({
    isExtended: fc.boolean(),
    type: fc.oneof(fc.nat(8), fc.nat(65_535)),
    flags: fc.oneof(fc.constant(0), fc.nat(63), fc.nat(65_535)),
    cookie: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    offset: interesting,
    length: interesting,
    payload: bytes(600),
    hasPayload: fc.boolean(),
  })
  .map(({ isExtended, hasPayload, payload, length, ...rest }) => {
    const body = hasPayload ? { payload } : { length };
    return isExtended
      ? extendedRequestBytes({ ...rest, ...body })
      : requestBytes({ ...rest, ...(hasPayload ? body : { length: length % 2n ** 32n }) });
  });

/** What a peer says in all: mostly a sensible beginning, then anything. */
const conversation: fc.Arbitrary<Buffer> = fc
  .record({
    flags: fc.oneof(
      { weight: 9, arbitrary: fc.constantFrom(0, 1, 2, 3) },
      { weight: 1, arbitrary: fc.nat() },
    ),
    options: fc.array(option, { maxLength: 5 }),
    go: fc.constantFrom(Buffer.alloc(0), optionBytes(OPT.GO, infoData('disk', [3]))),
    requests: fc.array(fc.oneof({ weight: 9, arbitrary: request }, { weight: 1, arbitrary: bytes(100) }), {
      maxLength: 20,
    }),
  })
  .map(({ flags, options, go, requests }) => Buffer.concat([u32(flags), ...options, go, ...requests]));

/** Cuts a conversation in pieces of the given lengths, again and again. */
function cut(whole: Buffer, lengths: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0, index = 0; at < whole.length; index += 1) {
    const length = lengths[index % lengths.length] ?? whole.length;
    pieces.push(whole.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

const pieceLengths = fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 5 });

/** A disk that answers at once, later, or with an error, as its numbers say. */
class FickleDevice implements BlockDevice {
  readonly sizeBytes = SIZE;
  readonly fastZero = true;
  readonly #inner = new MemoryDevice(SIZE);
  #count = 0;

  read = (offset: number, lengthBytes: number): ReadResult | Promise<ReadResult> =>
    this.#answer(() => this.#inner.read(offset, lengthBytes));
  write = (offset: number, data: Uint8Array): void | Promise<void> =>
    this.#answer(() => this.#inner.write(offset, data));
  trim = (offset: number, lengthBytes: number): void | Promise<void> =>
    this.#answer(() => this.#inner.trim(offset, lengthBytes));
  zero = (offset: number, lengthBytes: number): void | Promise<void> =>
    this.#answer(() => this.#inner.zero(offset, lengthBytes));
  flush = (): void | Promise<void> => this.#answer(() => undefined);
  extents: NonNullable<BlockDevice['extents']> = (offset, lengthBytes, options) =>
    this.#answer(() => this.#inner.extents(offset, lengthBytes, options));

  #answer<T>(work: () => T): T | Promise<T> {
    this.#count += 1;
    if (this.#count % 7 === 0) throw new Error('fickle');
    if (this.#count % 3 === 0) return new Promise((resolve) => setImmediate(() => resolve(work())));
    if (this.#count % 11 === 0) return Promise.reject(new Error('fickle later'));
    return work();
  }
}

/** Says all of it, and gives what came back. */
async function say(opened: TestConnection, pieces: readonly Buffer[], isPatient: boolean): Promise<Buffer> {
  const received: Buffer[] = [];
  opened.stream.on('data', (chunk: Buffer) => received.push(chunk));
  for (const piece of pieces) {
    if (opened.stream.writableEnded || opened.stream.destroyed) break;
    opened.stream.write(piece);
    if (isPatient) await settle();
  }
  await settle();
  return Buffer.concat(received);
}

/** Ends a conversation, and waits until nothing of it is left. */
async function hangUp({ stream, connection, clock, exports }: TestConnection): Promise<void> {
  stream.end();
  await settle();
  connection.close();
  await clock.run(connection.closed);
  if (exports.leaseCount !== 0) throw new Error('an export was not given back');
  if (clock.waitingCount !== 0) throw new Error('a timer was left');
}

t.test('[nbd-rule 37] any bytes, in any pieces, hung up on anywhere', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      conversation,
      pieceLengths,
      fc.nat(),
      fc.boolean(),
      async (whole, lengths, end, isPatient) => {
        const opened = openConnection(t, { devices: { disk: new FickleDevice() } });
        const said = whole.subarray(0, end % (whole.length + 1));
        await say(opened, cut(said, lengths), isPatient && said.length < 5000);
        await hangUp(opened);
        return opened.log.at('error').length === 0;
      },
    ),
    seedFor(t),
  );
});

t.test('pure noise', async (t) => {
  await fc.assert(
    fc.asyncProperty(bytes(3000), pieceLengths, async (noise, lengths) => {
      const opened = openConnection(t);
      await say(opened, cut(Buffer.concat([u32(3), noise]), lengths), false);
      await hangUp(opened);
      return opened.log.at('error').length === 0;
    }),
    seedFor(t),
  );
});

t.test('what is answered does not depend on how it was cut up', async (t) => {
  await fc.assert(
    fc.asyncProperty(conversation, pieceLengths, async (whole, lengths) => {
      const answers: Buffer[] = [];
      for (const pieces of [[whole], cut(whole, lengths)]) {
        const opened = openConnection(t, { devices: { disk: new MemoryDevice(SIZE) } });
        answers.push(await say(opened, pieces, true));
        await hangUp(opened);
      }
      return answers[0]!.equals(answers[1]!);
    }),
    { ...seedFor(t), numRuns: 60 },
  );
});

t.test('never a byte of another client, nor of another export', async (t) => {
  await fc.assert(
    fc.asyncProperty(conversation, pieceLengths, async (whole, lengths) => {
      const secret = new MemoryDevice(SIZE);
      for (let offset = 0; offset < SIZE; offset += SECRET.length) {
        secret.write(offset, Buffer.from(SECRET).subarray(0, SIZE - offset));
      }
      const devices = { disk: new MemoryDevice(SIZE), hidden: secret };
      const honest = openConnection(t, { devices });
      const other = openConnection(t, { devices, setup: { slabs: honest.slabs } });
      // The honest client fills the shared buffers with what is not for others.
      const read = (length: number): Buffer => requestBytes({ type: CMD.READ, length });
      const reads = [read(SIZE), ...Array.from({ length: 60 }, () => read(4096))];
      await say(honest, [u32(3), optionBytes(OPT.GO, infoData('hidden')), Buffer.concat(reads)], true);
      const received = await say(other, cut(whole, lengths), false);
      await hangUp(other);
      await hangUp(honest);
      return !received.includes('SECRET');
    }),
    { ...seedFor(t), numRuns: 60 },
  );
});

t.test('memory stays bounded while a peer floods and does not read', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 10 }), async (requests) => {
      const limits = { unsentBytesMax: 200_000, bytesInFlightMax: 200_000, requestsInFlightMax: 8 };
      let madeBytes = 0;
      const device: BlockDevice = {
        sizeBytes: SIZE,
        read: (_offset, lengthBytes) => {
          madeBytes += lengthBytes;
          return [Buffer.alloc(lengthBytes)];
        },
        write: () => undefined,
      };
      const opened = openConnection(t, { devices: { disk: device }, limits });
      opened.stream.pause();
      opened.stream.write(Buffer.concat([u32(3), optionBytes(OPT.GO, infoData('disk'))]));
      for (let round = 0; round < 50; round += 1) opened.stream.write(Buffer.concat(requests));
      for (let round = 0; round < 100; round += 1) {
        opened.stream.write(requestBytes({ type: CMD.READ, length: 60_000 }));
      }
      await settle();
      await hangUp(opened);
      // What may be on the way: the bound, one request above it, and what the stream between them holds.
      return madeBytes <= 200_000 + SIZE + 200_000;
    }),
    { ...seedFor(t), numRuns: 40 },
  );
});
