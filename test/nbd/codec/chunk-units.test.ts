import t from 'tap';
import {
  decodeBlockStatusPayload,
  encodeBlockStatusPayload,
} from '../../../src/nbd/codec/block-status-payload.js';
import {
  decodeBlockStatus,
  decodeBlockStatusExt,
  encodeBlockStatus,
  encodeBlockStatusExt,
} from '../../../src/nbd/codec/block-status-chunk.js';
import { decodeErrorChunk, encodeErrorChunk } from '../../../src/nbd/codec/error-chunk.js';
import {
  decodeExtendedHeader,
  encodeExtendedHeader,
  type ExtendedChunkHeader,
} from '../../../src/nbd/codec/extended-header.js';
import { decodeMetaContextReply, encodeMetaContextReply } from '../../../src/nbd/codec/meta-context-reply.js';
import {
  decodeMetaContextRequest,
  encodeMetaContextRequest,
} from '../../../src/nbd/codec/meta-context-request.js';
import {
  decodeOffsetDataHeader,
  decodeOffsetHole,
  encodeOffsetDataHeader,
  encodeOffsetHole,
  type OffsetHole,
} from '../../../src/nbd/codec/read-chunks.js';
import {
  decodeStructuredHeader,
  encodeStructuredHeader,
  type ChunkHeader,
} from '../../../src/nbd/codec/structured-header.js';
import { ProtocolError } from '../../../src/nbd/protocol-error.js';
import { fromHex, testCodec } from '../../fixtures/codec-table.js';

t.test('[nbd: Structured reply chunk message]', async (t) => {
  const encode = (header: ChunkHeader): Buffer => {
    const bytes = Buffer.alloc(20);
    const target = { ...header, offsetHigh: 7, offsetLow: 7 };
    encodeStructuredHeader(bytes, 0, header.flags, header.type, target, header.lengthBytes);
    return bytes;
  };
  testCodec(t, { encode, decode: decodeStructuredHeader }, [
    {
      hex: '668e33ef 0001 0000 0000000000000001 00000000',
      value: { flags: 1, type: 0, cookieHigh: 0, cookieLow: 1, lengthBytes: 0 },
    },
    {
      hex: '668e33ef 0000 8001 ffffffff80000000 ffffffff',
      value: { flags: 0, type: 0x8001, cookieHigh: -1, cookieLow: -(2 ** 31), lengthBytes: 2 ** 32 - 1 },
    },
  ]);
  t.throws(() => decodeStructuredHeader(Buffer.alloc(20), 0), ProtocolError);
});

t.test('[nbd: Extended reply chunk message]', async (t) => {
  const encode = (header: ExtendedChunkHeader): Buffer => {
    const bytes = Buffer.alloc(32);
    encodeExtendedHeader(bytes, 0, header.flags, header.type, header, header.lengthBytes);
    return bytes;
  };
  testCodec(t, { encode, decode: decodeExtendedHeader }, [
    {
      hex: '6e8a278c 0001 0002 00000001ffffffff 0000000200000000 000000000000000c',
      value: {
        flags: 1,
        type: 2,
        cookieHigh: 1,
        cookieLow: -1,
        offsetHigh: 2,
        offsetLow: 0,
        lengthBytes: 12,
      },
    },
  ]);
  t.throws(() => decodeExtendedHeader(Buffer.alloc(32), 0), ProtocolError);
});

t.test('[nbd: NBD_REPLY_TYPE_OFFSET_DATA]', async (t) => {
  const encode = (offset: number): Buffer => {
    const bytes = Buffer.alloc(8);
    encodeOffsetDataHeader(bytes, 0, offset);
    return bytes;
  };
  testCodec(t, { encode, decode: decodeOffsetDataHeader }, [
    { hex: '0000000100000200', value: 2 ** 32 + 512 },
  ]);
});

t.test('[nbd: NBD_REPLY_TYPE_OFFSET_HOLE; nbd-rule 28] is 12 bytes', async (t) => {
  const encode = (hole: OffsetHole): Buffer => {
    const bytes = Buffer.alloc(12);
    encodeOffsetHole(bytes, 0, hole);
    return bytes;
  };
  testCodec(t, { encode, decode: decodeOffsetHole }, [
    { hex: '0000000100000200 04000000', value: { offset: 2 ** 32 + 512, lengthBytes: 2 ** 26 } },
  ]);
});

t.test('[nbd: NBD_REPLY_TYPE_ERROR]', async (t) => {
  const codec = { encode: encodeErrorChunk, decode: (bytes: Buffer) => decodeErrorChunk(bytes, false) };
  testCodec(
    t,
    codec,
    [
      { hex: '00000016 0000', value: { error: 22, message: '' } },
      { hex: '00000005 0003 c3a978', value: { error: 5, message: 'éx' } },
    ],
    { isWholeBuffer: true },
  );
  for (const hex of ['00000016', '00000016 0001', '00000016 0000 00']) {
    t.throws(() => decodeErrorChunk(fromHex(hex), false), ProtocolError, hex);
  }
  t.equal(encodeErrorChunk({ error: 5, message: 'x'.repeat(9000) }).length, 6 + 4096);
});

t.test('[nbd: NBD_REPLY_TYPE_ERROR_OFFSET]', async (t) => {
  const codec = { encode: encodeErrorChunk, decode: (bytes: Buffer) => decodeErrorChunk(bytes, true) };
  const rows = [
    { hex: '00000005 0002 6f6b 0000000000001000', value: { error: 5, message: 'ok', offset: 4096 } },
  ];
  testCodec(t, codec, rows, { isWholeBuffer: true });
  for (const hex of ['00000016 0000', '00000016 0001 0000000000000000']) {
    t.throws(() => decodeErrorChunk(fromHex(hex), true), ProtocolError, hex);
  }
});

t.test('[nbd: NBD_REPLY_TYPE_BLOCK_STATUS]', async (t) => {
  testCodec(
    t,
    { encode: encodeBlockStatus, decode: decodeBlockStatus },
    [
      {
        hex: '00000001 ffffffff 00000003',
        value: { contextId: 1, extents: [{ lengthBytes: 2 ** 32 - 1, flags: 3 }] },
      },
      {
        hex: '00000002 00000200 00000000 00000001 ffffffff',
        value: {
          contextId: 2,
          extents: [
            { lengthBytes: 512, flags: 0 },
            { lengthBytes: 1, flags: 2 ** 32 - 1 },
          ],
        },
      },
    ],
    { isWholeBuffer: true },
  );
  for (const hex of ['00000001', '00000001 00000001', '00000001 00000001 00000001 00']) {
    t.throws(() => decodeBlockStatus(fromHex(hex)), ProtocolError, hex);
  }
});

t.test('[nbd: NBD_REPLY_TYPE_BLOCK_STATUS_EXT]', async (t) => {
  testCodec(
    t,
    { encode: encodeBlockStatusExt, decode: decodeBlockStatusExt },
    [
      {
        hex: '00000001 00000001 0000400000000000 0000000000000003',
        value: { contextId: 1, extents: [{ lengthBytes: 2 ** 46, flags: 3 }] },
      },
    ],
    { isWholeBuffer: true },
  );
  for (const hex of ['00000001 00000000', `00000001 00000002 ${'00'.repeat(16)}`]) {
    t.throws(() => decodeBlockStatusExt(fromHex(hex)), ProtocolError, hex);
  }
});

t.test('[nbd: NBD_CMD_BLOCK_STATUS] its payload', async (t) => {
  testCodec(
    t,
    { encode: encodeBlockStatusPayload, decode: decodeBlockStatusPayload },
    [
      { hex: '0000400000000000', value: { lengthBytes: 2 ** 46, contextIds: [] } },
      { hex: '0000000000000001 00000002 ffffffff', value: { lengthBytes: 1, contextIds: [2, 2 ** 32 - 1] } },
    ],
    { isWholeBuffer: true },
  );
  for (const hex of ['', '00000000000000', '0000000000000000 000000']) {
    t.throws(() => decodeBlockStatusPayload(fromHex(hex)), ProtocolError, hex);
  }
});

t.test('[nbd: NBD_OPT_SET_META_CONTEXT] its data', async (t) => {
  testCodec(
    t,
    { encode: encodeMetaContextRequest, decode: decodeMetaContextRequest },
    [
      { hex: '00000000 00000000', value: { name: '', queries: [] } },
      {
        hex: '00000001 61 00000002 00000000 00000002 623a',
        value: { name: 'a', queries: ['', 'b:'] },
      },
    ],
    { isWholeBuffer: true },
  );
});

t.test('[nbd: NBD_REP_META_CONTEXT]', async (t) => {
  testCodec(
    t,
    { encode: encodeMetaContextReply, decode: decodeMetaContextReply },
    [
      { hex: '00000007 613a62', value: { id: 7, name: 'a:b' } },
      { hex: '00000000', value: { id: 0, name: '' } },
    ],
    { isWholeBuffer: true },
  );
  t.throws(() => decodeMetaContextReply(Buffer.alloc(3)), ProtocolError);
});
