import { Readable } from 'node:stream';
import {
  GetSnapshotBlockCommand,
  PutSnapshotBlockCommand,
  type EBSClient,
  type GetSnapshotBlockCommandOutput,
} from '@aws-sdk/client-ebs';
import { BLOCK_BYTES, CHECKSUM_ALGORITHM } from './constants.js';
import type { RawAnswer } from './http-answer.js';
import type { GetSnapshotBlockRequest, PutSnapshotBlockRequest } from './snapshot-api.js';

/** Where the SDK sends requests, and as what, found by its own rules. */
export interface WireEndpoint {
  readonly isTls: boolean;
  /** A name or an address, without brackets. */
  readonly host: string;
  readonly port: number;
  /** Before `/snapshots`. */
  readonly basePath: string;
  readonly hostHeader: string;
  readonly userAgent: string;
  readonly signingRegion: string;
  readonly signingName: string;
}

/** The part of a request that is signed. */
export interface UnsignedRequest {
  readonly method: 'GET' | 'PUT';
  readonly path: string;
  readonly query: Record<string, string>;
  readonly headers: Record<string, string>;
}

/** The SDK's request, as a middleware sees it. */
interface SdkRequest {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

// [SigV4: Credential scope] Key, date, region, service.
const SCOPE = /Credential=[^,]*\/\d{8}\/([^/]+)\/([^/]+)\/aws4_request/;
const PROBE: GetSnapshotBlockRequest = { snapshotId: 'snap-00000000', blockIndex: 0, blockToken: 'A' };
const NO_BODY: RawAnswer = { status: 200, headers: new Map(), body: Buffer.alloc(0) };

/**
 * What of the SDK is used by requests that do not go through it: its endpoint, its signature, and its reading of answers
 * that are not plain success.
 */
export class SdkWire {
  readonly #client: EBSClient;

  constructor(client: EBSClient) {
    this.#client = client;
  }

  /** Milliseconds by which the service's time is ahead, as far as the SDK has learnt. */
  get clockOffsetMs(): number {
    return this.#client.config.systemClockOffset;
  }

  /** Lets the SDK make a request, and looks where it would go. Nothing is sent. */
  async endpoint(): Promise<WireEndpoint> {
    let request: SdkRequest | undefined;
    await this.#sendNowhere(getCommand(PROBE), NO_BODY, (seen) => (request = seen));
    if (request === undefined) throw new Error('the SDK made no request');
    const { protocol, hostname, port, path, headers } = request;
    const [, signingRegion = '', signingName = ''] = SCOPE.exec(headers.authorization ?? '') ?? [];
    const isTls = protocol === 'https:';
    return {
      isTls,
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port ?? (isTls ? 443 : 80),
      basePath: path.slice(0, path.indexOf('/snapshots/')),
      hostHeader: headers.host ?? hostname,
      userAgent: headers['user-agent'] ?? '',
      signingRegion,
      signingName,
    };
  }

  /**
   * Signs requests to one endpoint by the SDK's signer, with its credentials and its idea of the time.
   *
   * @returns a function to all headers that are to be sent.
   */
  async signer(
    endpoint: WireEndpoint,
  ): Promise<(request: UnsignedRequest) => Promise<Record<string, string>>> {
    const { signingRegion, signingName } = endpoint;
    const scheme = { name: 'sigv4', signingRegion, signingName, properties: {} };
    const signer = await this.#client.config.signer(scheme);
    const place = { protocol: endpoint.isTls ? 'https:' : 'http:', hostname: endpoint.host };
    return async (request) => {
      const signed = await signer.sign(
        { ...place, ...request },
        {
          signingDate: new Date(Date.now() + this.clockOffsetMs),
          signingRegion,
          signingService: signingName,
        },
      );
      return signed.headers;
    };
  }

  /** Reads an answer of GetSnapshotBlock as the SDK does. @throws what the SDK throws. */
  readGetAnswer(request: GetSnapshotBlockRequest, answer: RawAnswer): Promise<GetSnapshotBlockCommandOutput> {
    return this.#sendNowhere(getCommand(request), answer);
  }

  /** Reads an answer of PutSnapshotBlock as the SDK does. @throws what the SDK throws. */
  async readPutAnswer(request: PutSnapshotBlockRequest, answer: RawAnswer): Promise<void> {
    const command = new PutSnapshotBlockCommand({
      SnapshotId: request.snapshotId,
      BlockIndex: request.blockIndex,
      BlockData: Buffer.alloc(0),
      DataLength: BLOCK_BYTES,
      Checksum: request.checksum,
      ChecksumAlgorithm: CHECKSUM_ALGORITHM,
    });
    command.middlewareStack.add(() => () => Promise.resolve(resultOf(answer)), LAST);
    await this.#client.send(command);
  }

  #sendNowhere(
    command: GetSnapshotBlockCommand,
    answer: RawAnswer,
    look: (request: SdkRequest) => void = () => undefined,
  ): Promise<GetSnapshotBlockCommandOutput> {
    command.middlewareStack.add(
      () => (call) => {
        look(call.request as SdkRequest);
        return Promise.resolve(resultOf(answer));
      },
      LAST,
    );
    return this.#client.send(command);
  }
}

/** Next to where the SDK would send the request. */
const LAST = { step: 'deserialize', priority: 'low', name: 'snapnbdNowhere' } as const;

function getCommand(request: GetSnapshotBlockRequest): GetSnapshotBlockCommand {
  return new GetSnapshotBlockCommand({
    SnapshotId: request.snapshotId,
    BlockIndex: request.blockIndex,
    BlockToken: request.blockToken,
  });
}

function resultOf({ status, headers, body }: RawAnswer): never {
  const response = { statusCode: status, headers: Object.fromEntries(headers), body: Readable.from([body]) };
  // The SDK's own types leave no room for a handler that is not its own.
  return { response } as never;
}
