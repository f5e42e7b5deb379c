import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext, type TlsOptions } from 'node:tls';
import { EnvironmentError, messageOf } from '../../util/errors.js';
import { parsePskFile } from './psk-file.js';

/** Where the server's keys are: certificates, or keys that it shares with its clients. */
export type TlsFiles =
  | {
      readonly kind: 'x509';
      /** The server's certificate and what leads up to its root, PEM. */
      readonly certFile: string;
      /** The certificate's key, PEM. */
      readonly keyFile: string;
      /** When given, clients need a certificate that one of these has signed. */
      readonly caFile?: string;
    }
  | {
      readonly kind: 'psk';
      /** Lines of `user:hexkey`, as psktool writes them. */
      readonly pskFile: string;
    };

/**
 * Ciphers for keys that are shared beforehand, in the notation of OpenSSL: forward secrecy where the client can, and no
 * less than AES-128.
 */
const PSK_CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-PSK-CHACHA20-POLY1305',
  'ECDHE-PSK-AES256-CBC-SHA384',
  'ECDHE-PSK-AES128-CBC-SHA256',
  'DHE-PSK-AES256-GCM-SHA384',
  'DHE-PSK-AES128-GCM-SHA256',
  'PSK-AES256-GCM-SHA384',
  'PSK-AES128-GCM-SHA256',
].join(':');

/** What a server proves itself with, read from files once and again whenever it is told to. */
export class TlsCredentials {
  readonly #files: TlsFiles;
  #options: TlsOptions;
  #generation = 0;

  private constructor(files: TlsFiles, options: TlsOptions) {
    this.#files = files;
    this.#options = options;
  }

  /**
   * Reads the files.
   *
   * @throws {EnvironmentError} when one cannot be read, or they do not belong together.
   */
  static async load(files: TlsFiles): Promise<TlsCredentials> {
    return new TlsCredentials(files, await readOptions(files));
  }

  /**
   * Reads the files again, for clients that connect from now on. Those that are connected stay.
   *
   * @throws {EnvironmentError} as {@link load}; what was there before stays in use.
   */
  async reload(): Promise<void> {
    this.#options = await readOptions(this.#files);
    this.#generation += 1;
  }

  /** For `tls.createServer`. */
  get options(): TlsOptions {
    return this.#options;
  }

  /** Changes whenever the options do. */
  get generation(): number {
    return this.#generation;
  }

  /** True when clients have to show a certificate. */
  get needsClientCertificate(): boolean {
    return this.#options.requestCert === true;
  }
}

/** [nbd: TLS versions] 1.2 and up. [nbd-rule 16] */
const COMMON_OPTIONS: TlsOptions = { minVersion: 'TLSv1.2' };

async function readOptions(files: TlsFiles): Promise<TlsOptions> {
  if (files.kind === 'psk') {
    const keys = parsePskFile((await readText(files.pskFile)).toString(), files.pskFile);
    return {
      ...COMMON_OPTIONS,
      ciphers: PSK_CIPHERS,
      pskCallback: (_socket, identity) => keys.get(identity) ?? null,
    };
  }
  const [cert, key, ca] = await Promise.all([
    readText(files.certFile),
    readText(files.keyFile),
    files.caFile === undefined ? undefined : readText(files.caFile),
  ]);
  const options: TlsOptions = { ...COMMON_OPTIONS, cert, key };
  const withClients =
    ca === undefined ? options : { ...options, ca, requestCert: true, rejectUnauthorized: true };
  checkCertificates(files, withClients, cert, ca);
  return withClients;
}

async function readText(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new EnvironmentError(`Cannot read ${path} for TLS: ${messageOf(error)}.`, { cause: error });
  }
}

/** Finds out now, not with the first client, that files are not what they should be. */
function checkCertificates(
  files: Extract<TlsFiles, { kind: 'x509' }>,
  options: TlsOptions,
  cert: Buffer,
  ca: Buffer | undefined,
): void {
  try {
    createSecureContext({ cert: options.cert, key: options.key, ca: options.ca });
  } catch (error) {
    throw new EnvironmentError(
      `Cannot use the certificate ${files.certFile} with the key ${files.keyFile}: ${messageOf(error)}.`,
      { cause: error },
    );
  }
  for (const [path, pem] of [[files.certFile, cert] as const, [files.caFile, ca] as const]) {
    if (path === undefined || pem === undefined) continue;
    try {
      new X509Certificate(pem);
    } catch (error) {
      throw new EnvironmentError(`Cannot find a certificate in ${path}: ${messageOf(error)}.`, {
        cause: error,
      });
    }
  }
}
