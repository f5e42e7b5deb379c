import { encodeExportNameReply } from '../codec/export-name-reply.js';
import { decodeString } from '../codec/wire-string.js';
import { agreedFeaturesOf, transmissionFlagsOf } from '../export-facts.js';
import type { NegotiationSession } from './session.js';

/**
 * The oldest way into transmission: its data are the name and nothing else, and the only answer to a bad one is to hang
 * up. [nbd: NBD_OPT_EXPORT_NAME; nbd-rule 3]
 */
export function handleExportName(session: NegotiationSession, data: Buffer): void {
  session.acquire(decodeString(data), {
    acquired: (lease) => {
      const facts = {
        sizeBytes: lease.device.sizeBytes,
        transmissionFlags: transmissionFlagsOf(lease.device, agreedFeaturesOf(session.agreementFor(lease))),
      };
      // [nbd: NBD_FLAG_C_NO_ZEROES; nbd-rule 2]
      session.send(encodeExportNameReply(facts, !session.hasNoZeroes));
      session.transmit(lease);
    },
    refused: (error) => session.close(error.message),
  });
}
