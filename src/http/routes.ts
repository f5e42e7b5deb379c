import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from '../util/logger.js';
import type { Access } from './access.js';
import { answer, answerJson, answerText } from './answers.js';
import { loadAssets } from './assets.js';
import type { FileBrowser } from './file-browser.js';
import { FILE_PATHS, FileRoutes } from './file-routes.js';
import { Metrics } from './metrics.js';
import type { ServerFigures } from './status-document.js';

/** What the answers are made of. */
export interface RoutesOptions {
  readonly figures: ServerFigures;
  readonly files?: FileBrowser | undefined;
  readonly access: Access;
  readonly logger: Logger;
}

/** Maps of more exports than a screen shows are not sent at once. */
const MAPS_MAX = 32;
const URL_LENGTH_MAX = 8000;
/** What scripts and machines ask for gets a line; browsers get the page to sign in. */
const SIGN_IN_PATHS = new Set(['/', '/login']);
const NO_FILES =
  'Files are not shown: not every user of this machine can read the disks. Give the page a token (--http-token-file).';
const OPEN_ASSETS = new Set(['page.css', 'login.js', 'icon.svg']);

/** One request, one answer: everything that can be asked for by HTTP. */
export class Routes {
  readonly #figures: ServerFigures;
  readonly #files: FileRoutes | undefined;
  readonly #access: Access;
  readonly #assets = loadAssets();
  #metrics: Metrics | undefined;

  constructor({ figures, files, access, logger }: RoutesOptions) {
    this.#figures = figures;
    this.#access = access;
    this.#files = files === undefined ? undefined : new FileRoutes(files, logger);
  }

  /** Answers a request. @throws for defects alone. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A body is of no use to anything here; the rest of one is not read.
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      answerText(response, 405, 'Only GET and HEAD are answered here.', {
        Allow: 'GET, HEAD',
        Connection: 'close',
      });
      return;
    }
    if (!this.#access.isHostAllowed(request)) {
      answerText(
        response,
        403,
        'This page is for this machine: open it as http://localhost or http://127.0.0.1.',
      );
      return;
    }
    const url = urlOf(request);
    if (url === undefined) {
      answerText(response, 400, 'The address of the request is not valid.');
      return;
    }
    if (url.pathname === '/healthz') {
      answerText(response, 200, 'ok');
    } else if (url.pathname === '/readyz') {
      const { state } = this.#figures;
      answerText(response, state === 'ready' ? 200 : 503, state);
    } else if (this.#access.isLetIn(request)) {
      await this.#answer(url, request, response);
    } else {
      this.#signIn(url, response);
    }
  }

  /** Lets go of everything. */
  close(): void {
    this.#metrics?.close();
  }

  async #answer(url: URL, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = url;
    if (searchParams.has('token')) {
      this.#redirectWithCookie(url, response);
      return;
    }
    switch (pathname) {
      case '/login':
        // Asked for with the token by the page that signs in.
        answerText(response, 200, 'ok', { 'Set-Cookie': this.#access.cookie });
        return;
      case '/api/status': {
        const maps = new Set(searchParams.getAll('map').slice(0, MAPS_MAX));
        answerJson(response, 200, this.#figures.status(maps));
        return;
      }
      case '/metrics': {
        this.#metrics ??= new Metrics(this.#figures);
        const text = await this.#metrics.text();
        answer(response, 200, this.#metrics.contentType, text);
        return;
      }
      default:
    }
    if (FILE_PATHS.has(pathname)) {
      if (this.#files === undefined) answerJson(response, 403, { error: NO_FILES });
      else await this.#files.handle(url, request, response);
      return;
    }
    this.#answerAsset(pathname === '/' ? 'index.html' : pathname.slice(1), response);
  }

  #answerAsset(name: string, response: ServerResponse): void {
    const asset = name === 'login.html' ? undefined : this.#assets.get(name);
    if (asset === undefined) answerText(response, 404, 'There is nothing at this address.');
    else answer(response, 200, asset.type, asset.bytes);
  }

  #signIn(url: URL, response: ServerResponse): void {
    const token = url.searchParams.get('token');
    const asset = this.#assets.get(url.pathname.slice(1));
    if (token !== null && this.#access.isToken(token)) {
      this.#redirectWithCookie(url, response);
    } else if (SIGN_IN_PATHS.has(url.pathname)) {
      const page = this.#assets.get('login.html');
      answer(response, 401, page?.type ?? '', page?.bytes ?? '', { 'WWW-Authenticate': 'Bearer' });
    } else if (asset !== undefined && OPEN_ASSETS.has(url.pathname.slice(1))) {
      answer(response, 200, asset.type, asset.bytes);
    } else {
      answerText(response, 401, 'Give the token: Authorization: Bearer TOKEN.', {
        'WWW-Authenticate': 'Bearer',
      });
    }
  }

  /** So that the token is not left in the address bar. */
  #redirectWithCookie(url: URL, response: ServerResponse): void {
    url.searchParams.delete('token');
    // Two slashes in front would name another host.
    const path = `${url.pathname.replace(/^\/+/, '/')}${url.search}`;
    answerText(response, 303, 'Signed in.', { Location: path, 'Set-Cookie': this.#access.cookie });
  }
}

function urlOf({ url = '' }: IncomingMessage): URL | undefined {
  if (!url.startsWith('/') || url.length > URL_LENGTH_MAX) return undefined;
  return URL.canParse(`http://page${url}`) ? new URL(`http://page${url}`) : undefined;
}
