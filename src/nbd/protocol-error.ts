import { SnapnbdError } from '../util/errors.js';

/**
 * The peer sent something that the protocol does not allow. In data of an option it becomes an error reply; anywhere
 * else the place in the stream is lost, and the connection is closed.
 */
export class ProtocolError extends SnapnbdError {
  override readonly name = 'ProtocolError';
}
