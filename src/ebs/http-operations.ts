import type { Readable } from 'node:stream';
import { ANSWER_BYTES_MAX, tooLongError } from './answer-bound.js';
import { readBlockBody } from './block-body.js';
import { blockBuffers } from './block-buffers.js';
import type { CallRunner } from './call-runner.js';
import { BLOCK_BYTES, CHECKSUM_ALGORITHM } from './constants.js';
import { answerError, toEbsError } from './error-map.js';
import type { CallSubject } from './error-text.js';
import { copyOfError, EbsErrorKind, EbsOperation } from './errors.js';
import { AnswerTooLongError, type AnswerHead, type BodyRoom, type RawAnswer } from './http-answer.js';
import type { HttpPool } from './http-pool.js';
import type { SdkWire, UnsignedRequest, WireEndpoint } from './sdk-wire.js';
import type {
  BlockPage,
  CallOptions,
  ChangedBlockPage,
  CompleteSnapshotRequest,
  GetSnapshotBlockRequest,
  ListChangedBlocksRequest,
  ListSnapshotBlocksRequest,
  PutSnapshotBlockRequest,
  ReceivedBlock,
  SnapshotApi,
  SnapshotStatus,
  StartedSnapshot,
  StartSnapshotRequest,
} from './snapshot-api.js';

/** What blocks are moved with. */
export interface BlockTransport {
  readonly endpoint: WireEndpoint;
  readonly pool: HttpPool;
  readonly sign: (request: UnsignedRequest) => Promise<Record<string, string>>;
  readonly wire: SdkWire;
}

/** One request and the room for its answer. */
interface BlockExchange {
  readonly unsigned: UnsignedRequest;
  readonly body?: Uint8Array;
  readonly roomOf: (head: AnswerHead) => BodyRoom;
  readonly subject: () => CallSubject;
  readonly signal: AbortSignal;
}

/** What the SDK takes for a wrong clock; the service allows for five minutes. */
const CLOCK_SKEW_MS = 240_000;
const PLAIN_COUNT = /^\d{1,15}$/;
/** For answers that are not blocks: what they say is read once, so they grow as they come. */
const OTHER_ROOM: BodyRoom = { expectedBytes: 16 * 1024, maxBytes: ANSWER_BYTES_MAX };
const BLOCK_ROOM: BodyRoom = {
  expectedBytes: BLOCK_BYTES,
  maxBytes: BLOCK_BYTES,
  take: () => blockBuffers.take(),
};

/**
 * GetSnapshotBlock and PutSnapshotBlock without the SDK's own work for each call, which is more than that of all else;
 * the other operations through the SDK. Endpoint, credentials and signature are the SDK's, and so is the reading of every
 * answer that is not plain success: what differs is what carries the bytes.
 */
export class HttpSnapshotApi implements SnapshotApi {
  readonly #sdk: SnapshotApi;
  readonly #calls: CallRunner;
  readonly #transport: BlockTransport;

  constructor(sdk: SnapshotApi, calls: CallRunner, transport: BlockTransport) {
    this.#sdk = sdk;
    this.#calls = calls;
    this.#transport = transport;
  }

  listSnapshotBlocks(request: ListSnapshotBlocksRequest, options?: CallOptions): Promise<BlockPage> {
    return this.#sdk.listSnapshotBlocks(request, options);
  }

  listChangedBlocks(request: ListChangedBlocksRequest, options?: CallOptions): Promise<ChangedBlockPage> {
    return this.#sdk.listChangedBlocks(request, options);
  }

  startSnapshot(request: StartSnapshotRequest, options?: CallOptions): Promise<StartedSnapshot> {
    return this.#sdk.startSnapshot(request, options);
  }

  completeSnapshot(request: CompleteSnapshotRequest, options?: CallOptions): Promise<SnapshotStatus> {
    return this.#sdk.completeSnapshot(request, options);
  }

  getSnapshotBlock(request: GetSnapshotBlockRequest, options?: CallOptions): Promise<ReceivedBlock> {
    const { snapshotId, blockIndex, blockToken } = request;
    const subject = this.#calls.subject({ operation: EbsOperation.GetSnapshotBlock, snapshotId, blockIndex });
    const unsigned = {
      method: 'GET',
      path: this.#pathOf(snapshotId, blockIndex),
      query: { blockToken },
      headers: { host: this.#transport.endpoint.hostHeader },
    } as const;
    return this.#calls.run(subject, options, async (signal) => {
      const roomOf = (head: AnswerHead): BodyRoom => (isSuccess(head) ? BLOCK_ROOM : OTHER_ROOM);
      const { answer, clockOffsetMs } = await this.#send({ unsigned, roomOf, subject, signal });
      const length = answer.headers.get('x-amz-data-length');
      if (isSuccess(answer) && (length === undefined || PLAIN_COUNT.test(length))) {
        return {
          bytes: answer.body,
          declaredLengthBytes: length === undefined ? undefined : Number(length),
          checksum: answer.headers.get('x-amz-checksum'),
          checksumAlgorithm: answer.headers.get('x-amz-checksum-algorithm'),
        };
      }
      const { wire } = this.#transport;
      const read = await this.#reading(() => wire.readGetAnswer(request, answer), subject, clockOffsetMs);
      return {
        bytes: await readBlockBody(read.BlockData as Readable, signal, subject),
        declaredLengthBytes: read.DataLength,
        checksum: read.Checksum,
        checksumAlgorithm: read.ChecksumAlgorithm,
      };
    });
  }

  putSnapshotBlock(request: PutSnapshotBlockRequest, options?: CallOptions): Promise<void> {
    const { snapshotId, blockIndex, bytes, checksum, progressPercent } = request;
    const subject = this.#calls.subject({ operation: EbsOperation.PutSnapshotBlock, snapshotId, blockIndex });
    const unsigned = {
      method: 'PUT',
      path: this.#pathOf(snapshotId, blockIndex),
      query: {},
      headers: {
        host: this.#transport.endpoint.hostHeader,
        'content-type': 'application/octet-stream',
        'content-length': String(bytes.length),
        'x-amz-data-length': String(BLOCK_BYTES),
        'x-amz-checksum': checksum,
        'x-amz-checksum-algorithm': CHECKSUM_ALGORITHM,
        ...(progressPercent === undefined ? {} : { 'x-amz-progress': String(progressPercent) }),
        // The hash of the body, which the checksum is in other digits: the signer would compute it again.
        'x-amz-content-sha256': Buffer.from(checksum, 'base64').toString('hex'),
      },
    } as const;
    return this.#calls.run(subject, options, async (signal) => {
      const exchange = { unsigned, body: bytes, roomOf: () => OTHER_ROOM, subject, signal };
      const { answer, clockOffsetMs } = await this.#send(exchange);
      if (isSuccess(answer)) return;
      const { wire } = this.#transport;
      await this.#reading(() => wire.readPutAnswer(request, answer), subject, clockOffsetMs);
    });
  }

  close(): void {
    this.#transport.pool.close();
    this.#sdk.close();
  }

  #pathOf(snapshotId: string, blockIndex: number): string {
    return `${this.#transport.endpoint.basePath}/snapshots/${encoded(snapshotId)}/blocks/${blockIndex}`;
  }

  async #send(exchange: BlockExchange): Promise<{ answer: RawAnswer; clockOffsetMs: number }> {
    const { unsigned, body, roomOf, subject, signal } = exchange;
    const { pool, sign, wire } = this.#transport;
    const clockOffsetMs = wire.clockOffsetMs;
    const headers = await sign(unsigned);
    signal.throwIfAborted();
    try {
      const head = this.#headOf(unsigned, headers);
      return { answer: await pool.send({ head, body, roomOf }, signal), clockOffsetMs };
    } catch (error) {
      if (!(error instanceof AnswerTooLongError)) throw error;
      if (error.maxBytes !== BLOCK_BYTES || isBeyondAll(error.head)) throw tooLongError();
      throw answerError(EbsErrorKind.CorruptBlock, subject(), `more than ${BLOCK_BYTES} bytes arrived`);
    }
  }

  /** @param clockOffsetMs what the request was signed with. */
  async #reading<T>(read: () => Promise<T>, subject: () => CallSubject, clockOffsetMs: number): Promise<T> {
    try {
      return await read();
    } catch (thrown) {
      const error = toEbsError(thrown, subject());
      // Another answer may have told the service's time since this request was signed: the next one is right.
      const isCorrected = Math.abs(clockOffsetMs - this.#transport.wire.clockOffsetMs) >= CLOCK_SKEW_MS;
      throw isCorrected && error.kind === EbsErrorKind.ClockSkew
        ? copyOfError(error, error.message, { retryable: true })
        : error;
    }
  }

  #headOf({ method, path, query }: UnsignedRequest, headers: Record<string, string>): string {
    const pairs = Object.entries(query).map(([name, value]) => `${name}=${encoded(value)}`);
    let head = `${method} ${path}${pairs.length === 0 ? '' : `?${pairs.join('&')}`} HTTP/1.1\r\n`;
    for (const name in headers) head += `${name}: ${headers[name] ?? ''}\r\n`;
    return `${head}user-agent: ${this.#transport.endpoint.userAgent}\r\n\r\n`;
  }
}

function isSuccess({ status }: AnswerHead): boolean {
  return status >= 200 && status < 300;
}

function isBeyondAll({ headers }: AnswerHead): boolean {
  return Number(headers.get('content-length') ?? 0) > ANSWER_BYTES_MAX;
}

/** As the signer writes what it signs. [RFC 3986: 2.3 Unreserved Characters] */
function encoded(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
