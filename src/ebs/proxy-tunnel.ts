import { request as httpRequest } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import type { NetworkSettings } from './network-settings.js';

/**
 * Asks a proxy for a connection to a host. [RFC 9110: 9.3.6 CONNECT]
 *
 * @param ca trusted for a proxy that is spoken to by https.
 * @throws what became of the connection; an error of code `ECONNREFUSED` when the proxy refuses.
 */
export function openTunnel(
  proxy: URL,
  { host, port, ca, signal }: { host: string; port: number; ca: string | undefined; signal?: AbortSignal },
): Promise<Socket> {
  const target = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const user = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return new Promise((resolve, reject) => {
    const isTls = proxy.protocol === 'https:';
    const call = (isTls ? httpsRequest : httpRequest)({
      host: proxy.hostname.replace(/^\[|\]$/g, ''),
      port: proxy.port === '' ? (isTls ? 443 : 80) : Number(proxy.port),
      method: 'CONNECT',
      path: target,
      agent: false,
      headers: {
        host: target,
        ...(user === ':' ? {} : { 'proxy-authorization': `Basic ${Buffer.from(user).toString('base64')}` }),
      },
      ...(ca === undefined ? {} : { ca }),
      ...(signal === undefined ? {} : { signal }),
    });
    call.once('error', reject);
    call.once('connect', (answer, socket, head) => {
      if (answer.statusCode === 200 && head.length === 0) {
        resolve(socket);
        return;
      }
      socket.destroy();
      reject(refusal(proxy, target, answer.statusCode));
    });
    call.once('response', (answer) => {
      answer.destroy();
      reject(refusal(proxy, target, answer.statusCode));
    });
    call.end();
  });
}

function refusal(proxy: URL, target: string, status: number | undefined): Error {
  const text = `the proxy ${proxy.host} answered CONNECT ${target} with status ${status ?? 0}`;
  return Object.assign(new Error(text), { code: 'ECONNREFUSED' });
}

/** The options of an agent that matter here. */
export type AgentOptions = ConstructorParameters<typeof Agent>[0];

/** An agent for https that goes through the proxy where there is one for the host. */
export class TunnelAgent extends Agent {
  readonly #network: NetworkSettings;

  constructor(options: AgentOptions, network: NetworkSettings) {
    super({ ...options, ...(network.ca === undefined ? {} : { ca: network.ca }) });
    this.#network = network;
  }

  override createConnection(
    options: Parameters<Agent['createConnection']>[0],
    callback?: (error: Error | null, socket: Duplex) => void,
  ): Duplex | null | undefined {
    const host = options.host ?? 'localhost';
    const port = Number(options.port ?? 443);
    const proxy = this.#network.proxyFor(host, port);
    if (proxy === undefined || callback === undefined) return super.createConnection(options, callback);
    openTunnel(proxy, { host, port, ca: this.#network.ca }).then(
      (socket) => callback(null, connectTls({ ...(options as ConnectionOptions), socket })),
      (error: unknown) => (callback as (error: unknown) => void)(error),
    );
    return undefined;
  }
}
