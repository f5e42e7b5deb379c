import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { messageOf } from '../util/errors.js';
import type { Logger } from '../util/logger.js';
import { answerJson, SECURITY_HEADERS } from './answers.js';
import { BrowseError, type FileBrowser } from './file-browser.js';

/** Downloads and listings at once: each holds some blocks. */
const AT_ONCE_MAX = 8;

/** Walks through exports and gives their files out, read-only. */
export class FileRoutes {
  readonly #files: FileBrowser;
  readonly #logger: Logger;
  #underWay = 0;

  constructor(files: FileBrowser, logger: Logger) {
    this.#files = files;
    this.#logger = logger;
  }

  /** @returns false when the request is not for files. */
  async handle(url: URL, request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const isListing = url.pathname === '/api/files';
    if (!isListing && url.pathname !== '/download') return false;
    if (this.#underWay >= AT_ONCE_MAX) {
      answerJson(response, 503, { error: 'Too many files are being read at once: try again later.' });
      return true;
    }
    const gone = new AbortController();
    response.once('close', () => gone.abort(new Error('the client is gone')));
    const name = url.searchParams.get('export') ?? '';
    const path = url.searchParams.getAll('p');
    this.#underWay += 1;
    try {
      if (isListing) answerJson(response, 200, await this.#files.list(name, path, gone.signal));
      else await this.#download(name, path, request, response, gone.signal);
    } catch (error) {
      if (!gone.signal.aborted) this.#refuse(error, response);
    } finally {
      this.#underWay -= 1;
    }
    return true;
  }

  async #download(
    exportName: string,
    path: readonly string[],
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const file = await this.#files.open(exportName, path, signal);
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
    await pipeline(Readable.from(file.chunks, { objectMode: false, highWaterMark: 65_536 }), response, {
      signal,
    });
  }

  #refuse(error: unknown, response: ServerResponse): void {
    if (response.headersSent) {
      this.#logger.warn('a download broke off', { error: messageOf(error) });
      response.destroy();
    } else if (error instanceof BrowseError) {
      answerJson(response, 404, { error: error.message });
    } else {
      this.#logger.warn('a file cannot be read', { error: messageOf(error) });
      answerJson(response, 500, { error: `Cannot read the files: ${messageOf(error)}` });
    }
  }
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
