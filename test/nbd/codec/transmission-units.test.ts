import t from 'tap';
import {
  decodeExtendedRequestHeader,
  decodeRequestHeader,
  emptyRequestHeader,
  encodeExtendedRequestHeader,
  encodeRequestHeader,
  type RequestFields,
} from '../../../src/nbd/codec/request-header.js';
import { decodeSimpleReply, encodeSimpleReply } from '../../../src/nbd/codec/simple-reply.js';
import { readUint64, writeUint64 } from '../../../src/nbd/codec/uint64.js';
import { ProtocolError } from '../../../src/nbd/protocol-error.js';
import { fromHex, testCodec } from '../../fixtures/codec-table.js';

/** A request as its sender sees it, decoded by the receiver's codec. */
function fieldsBy(decode: typeof decodeRequestHeader): (bytes: Buffer, at: number) => RequestFields {
  return (bytes, at) => {
    const header = emptyRequestHeader();
    decode(bytes, at, header);
    const joined = (high: number, low: number): bigint => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
    return {
      flags: header.flags,
      type: header.type,
      cookie: joined(header.cookieHigh, header.cookieLow),
      offset: joined(header.offsetHigh, header.offsetLow),
      lengthBytes: header.lengthBytes,
    };
  };
}

t.test('[nbd: Request message; nbd-rule 25] flags and type are two fields of 16 bits', async (t) => {
  testCodec(t, { encode: encodeRequestHeader, decode: fieldsBy(decodeRequestHeader) }, [
    {
      hex: '25609513 0000 0000 0000000000000001 0000000000001000 00000200',
      value: { flags: 0, type: 0, cookie: 1n, offset: 4096n, lengthBytes: 512 },
    },
    {
      hex: '25609513 0002 0006 ffeeddccbbaa9988 ffffffffffffffff ffffffff',
      value: {
        flags: 2,
        type: 6,
        cookie: 0xffee_ddcc_bbaa_9988n,
        offset: 0xffff_ffff_ffff_ffffn,
        lengthBytes: 0xffff_ffff,
      },
    },
  ]);
  const header = emptyRequestHeader();
  t.throws(() => decodeRequestHeader(fromHex(`25609512${'00'.repeat(24)}`), 0, header), ProtocolError);
  t.throws(() => decodeRequestHeader(fromHex(`21e41c71${'00'.repeat(28)}`), 0, header), ProtocolError);
});

t.test('[nbd: Request message] extended', async (t) => {
  testCodec(t, { encode: encodeExtendedRequestHeader, decode: fieldsBy(decodeExtendedRequestHeader) }, [
    {
      hex: '21e41c71 0020 0001 8000000000000001 0000000000001000 0000000000000200',
      value: { flags: 32, type: 1, cookie: 0x8000_0000_0000_0001n, offset: 4096n, lengthBytes: 512 },
    },
    {
      hex: '21e41c71 0000 0004 0000000000000000 0000000000000000 001fffffffffffff',
      value: { flags: 0, type: 4, cookie: 0n, offset: 0n, lengthBytes: Number.MAX_SAFE_INTEGER },
    },
  ]);
  const header = emptyRequestHeader();
  const compact = fromHex(`25609513${'00'.repeat(28)}`);
  t.throws(() => decodeExtendedRequestHeader(compact, 0, header), ProtocolError);
});

t.test('[nbd: Simple reply message]', async (t) => {
  const encode = (reply: ReturnType<typeof decodeSimpleReply>): Buffer => {
    const bytes = Buffer.alloc(16);
    encodeSimpleReply(bytes, 0, reply.error, reply.cookieHigh, reply.cookieLow);
    return bytes;
  };
  testCodec(t, { encode, decode: decodeSimpleReply }, [
    { hex: '67446698 00000000 0000000100000002', value: { error: 0, cookieHigh: 1, cookieLow: 2 } },
    {
      hex: '67446698 00000016 ffffffff80000000',
      value: { error: 22, cookieHigh: -1, cookieLow: -(2 ** 31) },
    },
  ]);
  t.throws(() => decodeSimpleReply(Buffer.alloc(16), 0), ProtocolError);
});

t.test('[nbd-rule 24] 64-bit values are exact, or larger than everything', async (t) => {
  const bytes = Buffer.alloc(8);
  for (const value of [0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 46, Number.MAX_SAFE_INTEGER]) {
    writeUint64(bytes, 0, value);
    t.equal(bytes.readBigUInt64BE(), BigInt(value));
    t.equal(readUint64(bytes, 0), value);
  }
  for (const value of [2n ** 53n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n]) {
    bytes.writeBigUInt64BE(value);
    t.equal(readUint64(bytes, 0), Infinity, String(value));
  }
});
