import { encodeInfoReply, type InfoReply } from '../codec/info-reply.js';
import { decodeInfoRequest } from '../codec/info-request.js';
import { agreedFeaturesOf, blockSizesOf, transmissionFlagsOf } from '../export-facts.js';
import type { ExportLease } from '../export-table.js';
import { InfoType, OptionReplyType } from '../handshake-constants.js';
import { replyTypeOf, type NegotiationSession } from './session.js';

/** Tells about an export. [nbd: NBD_OPT_INFO] */
export function handleInfo(session: NegotiationSession, data: Buffer): void {
  answerInfo(session, data, false);
}

/** Tells about an export, and goes on to requests. [nbd: NBD_OPT_GO] */
export function handleGo(session: NegotiationSession, data: Buffer): void {
  answerInfo(session, data, true);
}

/**
 * Both options have the same data and the same answers, so that an INFO and then a GO with the same parameters cannot
 * differ. A refusal leaves nothing behind, and the client may try again. [nbd-rule 9, 10]
 */
function answerInfo(session: NegotiationSession, data: Buffer, isGo: boolean): void {
  const { name, infoTypes } = decodeInfoRequest(data);
  session.acquire(name, {
    acquired: (lease) => {
      for (const info of infosFor(session, lease, new Set(infoTypes))) {
        session.reply(OptionReplyType.Info, encodeInfoReply(info));
      }
      session.reply(OptionReplyType.Ack);
      if (isGo) session.transmit(lease);
    },
    refused: (error) => session.refuse(replyTypeOf(error), error.message),
  });
}

/**
 * EXPORT always, the others where they were asked for, each once; what is not known is passed over. [nbd: NBD_INFO_EXPORT]
 * [nbd-rule 9]
 */
function infosFor(session: NegotiationSession, lease: ExportLease, asked: ReadonlySet<number>): InfoReply[] {
  const { device } = lease;
  const infos: InfoReply[] = [
    {
      type: InfoType.Export,
      sizeBytes: device.sizeBytes,
      transmissionFlags: transmissionFlagsOf(device, agreedFeaturesOf(session.agreementFor(lease))),
    },
  ];
  if (asked.has(InfoType.Name)) infos.push({ type: InfoType.Name, text: lease.name });
  if (asked.has(InfoType.Description) && device.description !== undefined) {
    infos.push({ type: InfoType.Description, text: device.description });
  }
  if (asked.has(InfoType.BlockSize)) {
    infos.push({ type: InfoType.BlockSize, ...blockSizesOf(device, session.setup.limits) });
  }
  return infos;
}
