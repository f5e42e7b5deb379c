import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { messageOf } from '../util/errors.js';
import type { Logger } from '../util/logger.js';
import { answerJson, SECURITY_HEADERS } from './answers.js';
import { BrowseError, type BrowsedFile, type FileBrowser } from './file-browser.js';

/** Downloads and listings at once: each holds some blocks. */
const AT_ONCE_MAX = 8;

const LIST_PATH = '/api/files';
/** What these routes are for. */
export const FILE_PATHS: ReadonlySet<string> = new Set([LIST_PATH, '/download']);

/** Walks through exports and gives their files out, read-only. */
export class FileRoutes {
  readonly #files: FileBrowser;
  readonly #logger: Logger;
  #underWay = 0;

  constructor(files: FileBrowser, logger: Logger) {
    this.#files = files;
    this.#logger = logger;
  }

  /** Answers a request for one of {@link FILE_PATHS}. */
  async handle(url: URL, request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#underWay >= AT_ONCE_MAX) {
      answerJson(response, 503, { error: 'Too many files are being read at once: try again later.' });
      return;
    }
    const gone = new AbortController();
    response.once('close', () => gone.abort(new Error('the client is gone')));
    const { searchParams } = url;
    const place = { exportName: searchParams.get('export') ?? '', path: searchParams.getAll('p') };
    this.#underWay += 1;
    try {
      if (url.pathname === LIST_PATH) {
        const from = pageStart(searchParams.get('from') ?? '0');
        answerJson(response, 200, await this.#files.list(place, from, gone.signal));
      } else {
        await this.#files.read(place, gone.signal, (file) =>
          this.#send(file, request, response, gone.signal),
        );
      }
    } catch (error) {
      // Nobody is there to be told; why a download broke off is in the log already.
      if (!gone.signal.aborted && !response.headersSent) this.#refuse(error, response);
      else response.destroy();
    } finally {
      this.#underWay -= 1;
    }
  }

  async #send(
    file: BrowsedFile,
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    response.writeHead(200, {
      ...SECURITY_HEADERS,
      // Whatever it is, a browser keeps it and shows nothing of it.
      'Content-Type': 'application/octet-stream',
      'Content-Disposition': dispositionOf(file.name),
      'Content-Length': file.sizeBytes,
    });
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    // Reads on as fast as the client takes it, and no further.
    const chunks = this.#told(file, signal);
    await pipeline(Readable.from(chunks, { objectMode: false, highWaterMark: 65_536 }), response, { signal });
  }

  /** The headers have gone out: only the log can say why the rest does not follow. */
  async *#told({ name, chunks }: BrowsedFile, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    try {
      yield* chunks;
    } catch (error) {
      if (!signal.aborted) this.#logger.warn('a download broke off', { file: name, error: messageOf(error) });
      throw error;
    }
  }

  #refuse(error: unknown, response: ServerResponse): void {
    if (error instanceof BrowseError) {
      answerJson(response, error.status, { error: error.message });
    } else {
      this.#logger.warn('a file cannot be read', { error: messageOf(error) });
      answerJson(response, 500, { error: `Cannot read the files: ${messageOf(error)}` });
    }
  }
}

function pageStart(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new BrowseError(400, 'Cannot use from=: give the number that the page before has as "next".');
}

/** A header with any name: plain letters for old clients, all of it for the others. [RFC 6266; RFC 8187] */
export function dispositionOf(name: string): string {
  const plain = name.replace(/[^\w.+@ -]/g, '_');
  const whole = encodeURIComponent(Buffer.from(name).toString()).replace(
    /['()*]/g,
    (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `attachment; filename="${plain}"; filename*=UTF-8''${whole}`;
}
