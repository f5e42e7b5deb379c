import type { BlockSizes } from '../../device/block-device.js';
import { InfoType } from '../handshake-constants.js';
import { ProtocolError } from '../protocol-error.js';
import type { ExportFacts } from './export-name-reply.js';
import { readUint64, writeUint64 } from './uint64.js';
import { decodeString, encodeString } from './wire-string.js';

/** One piece of information about an export. [nbd: NBD_REP_INFO] */
export type InfoReply =
  | ({ readonly type: typeof InfoType.Export } & ExportFacts)
  | { readonly type: typeof InfoType.Name | typeof InfoType.Description; readonly text: string }
  | ({ readonly type: typeof InfoType.BlockSize } & BlockSizes);

/** Encodes the data of NBD_REP_INFO. */
export function encodeInfoReply(info: InfoReply): Buffer {
  switch (info.type) {
    case InfoType.Export: {
      const bytes = Buffer.alloc(12);
      bytes.writeUInt16BE(info.type, 0);
      writeUint64(bytes, 2, info.sizeBytes);
      bytes.writeUInt16BE(info.transmissionFlags, 10);
      return bytes;
    }
    case InfoType.Name:
    case InfoType.Description: {
      const text = encodeString(info.text);
      const bytes = Buffer.alloc(2 + text.length);
      bytes.writeUInt16BE(info.type, 0);
      bytes.set(text, 2);
      return bytes;
    }
    case InfoType.BlockSize: {
      const bytes = Buffer.alloc(14);
      bytes.writeUInt16BE(info.type, 0);
      bytes.writeUInt32BE(info.minimum, 2);
      bytes.writeUInt32BE(info.preferred, 6);
      bytes.writeUInt32BE(info.maximum, 10);
      return bytes;
    }
  }
}

/** Decodes the data of NBD_REP_INFO. @throws {ProtocolError} on a kind that is not known or a wrong length. */
export function decodeInfoReply(data: Buffer): InfoReply {
  if (data.length < 2) throw new ProtocolError('a piece of information without a type');
  const type = data.readUInt16BE(0);
  if (type === InfoType.Export && data.length === 12) {
    return { type, sizeBytes: readUint64(data, 2), transmissionFlags: data.readUInt16BE(10) };
  }
  if (type === InfoType.Name || type === InfoType.Description) {
    return { type, text: decodeString(data.subarray(2)) };
  }
  if (type === InfoType.BlockSize && data.length === 14) {
    return {
      type,
      minimum: data.readUInt32BE(2),
      preferred: data.readUInt32BE(6),
      maximum: data.readUInt32BE(10),
    };
  }
  throw new ProtocolError(`information of type ${type} in ${data.length} bytes`);
}
