import { ProtocolError } from '../protocol-error.js';

/**
 * For the options that have no data: LIST, STARTTLS, STRUCTURED_REPLY and EXTENDED_HEADERS. Data that came all the same
 * have been consumed by now. [nbd-rule 6]
 *
 * @throws {ProtocolError} when there are any.
 */
export function expectNoData(data: Buffer): void {
  if (data.length > 0) throw new ProtocolError(`${data.length} bytes of data with an option that has none`);
}
