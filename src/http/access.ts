import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';

/** Who gets in. */
export interface AccessRules {
  /** What a client has to know. Default: nothing, for services on loopback. */
  readonly token?: string | undefined;
}

export const COOKIE_NAME = 'snapnbd';

/**
 * Decides whether a request is let in. Without a token its Host must be one of this machine's own: a page of another
 * site whose name was made to lead here [DNS rebinding] sends that site's name. With a token the secret decides.
 */
export class Access {
  readonly #token: string | undefined;

  constructor({ token }: AccessRules) {
    this.#token = token;
  }

  /** Whether the Host of a request may be answered at all. */
  isHostAllowed(request: IncomingMessage): boolean {
    return this.#token !== undefined || isLoopbackHost(request.headers.host ?? '');
  }

  /** Whether the request shows the token, by `Authorization: Bearer` or the cookie. */
  isLetIn(request: IncomingMessage): boolean {
    if (this.#token === undefined) return true;
    const bearer = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (bearer !== undefined && this.isToken(bearer)) return true;
    const cookie = cookieIn(request.headers.cookie ?? '');
    return cookie !== undefined && isSame(cookie, this.#cookieValue());
  }

  isToken(text: string): boolean {
    return this.#token !== undefined && isSame(text, this.#token);
  }

  /** What lets a browser in from now on: not the token itself, and of no use to other sites. */
  get cookie(): string {
    return `${COOKIE_NAME}=${this.#cookieValue()}; Path=/; HttpOnly; SameSite=Strict`;
  }

  #cookieValue(): string {
    return createHmac('sha256', this.#token ?? '')
      .update('cookie')
      .digest('base64url');
  }
}

/** Compares in a time that says nothing about where texts differ. */
function isSame(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHmac('sha256', 'compare').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

function cookieIn(header: string): string | undefined {
  for (const part of header.split(';')) {
    const [name, value] = part.trim().split('=', 2);
    if (name === COOKIE_NAME) return value;
  }
  return undefined;
}

/** Whether `HOST[:PORT]` names this machine to itself. */
export function isLoopbackHost(host: string): boolean {
  const name = /^(?:\[([^\]]*)\]|([^:]*))(?::\d{1,5})?$/.exec(host);
  const address = (name?.[1] ?? name?.[2] ?? '').toLowerCase();
  if (address === 'localhost') return true;
  return address === '::1' || (isIP(address) === 4 && address.startsWith('127.'));
}
