import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { assert } from '../../util/assert.js';
import type { EncryptedStream } from '../connection-setup.js';
import { OptionReplyType } from '../handshake-constants.js';
import type { TlsMode } from '../negotiation/session.js';
import { type Refusal } from '../negotiation/session.js';
import { isSubjectNamed, parseDistinguishedName } from './distinguished-name.js';
import type { TlsCredentials } from './tls-credentials.js';
import { TlsUpgrader } from './tls-upgrader.js';

/** TLS as a server offers it. */
export interface TlsSetup {
  /** `on`: clients may; `require`: clients must. */
  readonly mode: typeof TlsMode.On | typeof TlsMode.Require;
  readonly credentials: TlsCredentials;
  /**
   * Names of client certificates, such as `CN=laptop,O=Example`, of which a client has to have one. Default: any
   * certificate that the CA has signed.
   */
  readonly allowedNames?: readonly string[];
}

/** Encrypts the connections of a server, and decides who may go on then. */
export class ServerTls {
  readonly mode: TlsMode;
  readonly #upgrader: TlsUpgrader;
  readonly #names: readonly (readonly string[])[] | undefined;

  /** @throws {UsageError} when a name cannot be read. */
  constructor(setup: TlsSetup) {
    this.mode = setup.mode;
    this.#upgrader = new TlsUpgrader(setup.credentials);
    this.#names = setup.allowedNames?.map(parseDistinguishedName);
  }

  /** For connections: the handshake, and then whether the client is welcome. */
  readonly upgrade = async (plain: Duplex): Promise<EncryptedStream> => {
    assert(plain instanceof Socket, 'only sockets can be encrypted');
    const stream = await this.#upgrader.upgrade(plain);
    return { stream, refusal: this.#refusalOf(stream) };
  };

  #refusalOf(socket: TLSSocket): Refusal | undefined {
    if (this.#names === undefined) return undefined;
    const subject = socket.authorized ? socket.getPeerX509Certificate()?.subject : undefined;
    if (subject !== undefined && this.#names.some((name) => isSubjectNamed(subject, name))) return undefined;
    return {
      replyType: OptionReplyType.ErrPolicy,
      message: 'the name in the certificate of this client is not among those that are allowed',
    };
  }
}
