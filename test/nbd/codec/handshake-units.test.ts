import t from 'tap';
import { decodeExportNameReply, encodeExportNameReply } from '../../../src/nbd/codec/export-name-reply.js';
import {
  decodeClientFlags,
  decodeGreeting,
  encodeClientFlags,
  encodeGreeting,
} from '../../../src/nbd/codec/greeting.js';
import { decodeInfoReply, encodeInfoReply } from '../../../src/nbd/codec/info-reply.js';
import { decodeInfoRequest, encodeInfoRequest } from '../../../src/nbd/codec/info-request.js';
import { decodeOptionReplyHeader, encodeOptionReply } from '../../../src/nbd/codec/option-reply.js';
import { decodeOptionHeader, encodeOption } from '../../../src/nbd/codec/option-request.js';
import { decodeServerReply, encodeServerReply } from '../../../src/nbd/codec/server-reply.js';
import { ProtocolError } from '../../../src/nbd/protocol-error.js';
import { fromHex, testCodec } from '../../fixtures/codec-table.js';

t.test('[nbd: Newstyle negotiation] the greeting', async (t) => {
  testCodec(t, { encode: encodeGreeting, decode: decodeGreeting }, [
    { hex: '4e42444d41474943 49484156454f5054 0003', value: 3 },
    { hex: '4e42444d41474943 49484156454f5054 0000', value: 0 },
  ]);
  t.throws(() => decodeGreeting(fromHex('4e42444d41474943 00420281861253 00000000'), 0), ProtocolError);
});

t.test('[nbd: Client flags]', async (t) => {
  testCodec(t, { encode: encodeClientFlags, decode: decodeClientFlags }, [
    { hex: '00000003', value: 3 },
    { hex: 'ffffffff', value: 0xffff_ffff },
  ]);
});

t.test('[nbd: Newstyle negotiation] an option', async (t) => {
  const encode = ({ option, lengthBytes }: { option: number; lengthBytes: number }): Buffer =>
    encodeOption(option, Buffer.alloc(lengthBytes, 0x61));
  testCodec(t, { encode, decode: decodeOptionHeader }, [
    { hex: '49484156454f5054 00000003 00000000', value: { option: 3, lengthBytes: 0 } },
    { hex: '49484156454f5054 ffffffff 00000002 6161', value: { option: 0xffff_ffff, lengthBytes: 2 } },
  ]);
  t.throws(() => decodeOptionHeader(fromHex('49484156454f5055 00000003 00000000'), 0), ProtocolError);
  t.throws(() => decodeOptionHeader(fromHex('49484157454f5054 00000003 00000000'), 0), ProtocolError);
});

t.test('[nbd: Fixed newstyle negotiation] a reply to an option', async (t) => {
  const encode = (reply: { option: number; type: number; lengthBytes: number }): Buffer =>
    encodeOptionReply(reply.option, reply.type, Buffer.alloc(reply.lengthBytes, 0x62));
  testCodec(t, { encode, decode: decodeOptionReplyHeader }, [
    {
      hex: '0003e889045565a9 00000007 00000001 00000000',
      value: { option: 7, type: 1, lengthBytes: 0 },
    },
    {
      hex: '0003e889045565a9 00000003 80000001 00000003 626262',
      value: { option: 3, type: 0x8000_0001, lengthBytes: 3 },
    },
  ]);
  t.throws(() => decodeOptionReplyHeader(Buffer.alloc(20), 0), ProtocolError);
});

t.test('[nbd: NBD_OPT_EXPORT_NAME] its reply', async (t) => {
  const decode = decodeExportNameReply;
  testCodec(t, { encode: (facts) => encodeExportNameReply(facts, false), decode }, [
    { hex: '0000000000000200 0003', value: { sizeBytes: 512, transmissionFlags: 3 } },
    { hex: '0000400000000000 010d', value: { sizeBytes: 2 ** 46, transmissionFlags: 0x10d } },
  ]);
  testCodec(t, { encode: (facts) => encodeExportNameReply(facts, true), decode }, [
    {
      hex: `0000000000000200 0003 ${'00'.repeat(124)}`,
      value: { sizeBytes: 512, transmissionFlags: 3 },
    },
  ]);
});

t.test('[nbd: NBD_REP_SERVER]', async (t) => {
  testCodec(
    t,
    { encode: encodeServerReply, decode: decodeServerReply },
    [
      { hex: '00000000', value: { name: '', description: '' } },
      { hex: '00000002 6162', value: { name: 'ab', description: '' } },
      { hex: '00000002 6162 c3a9', value: { name: 'ab', description: 'é' } },
    ],
    { isWholeBuffer: true },
  );
  t.throws(() => decodeServerReply(fromHex('000000')), ProtocolError);
  t.throws(() => decodeServerReply(fromHex('00000003 6162')), ProtocolError);
});

t.test('[nbd: NBD_OPT_INFO and NBD_OPT_GO; nbd-rule 8] their data', async (t) => {
  testCodec(
    t,
    { encode: encodeInfoRequest, decode: decodeInfoRequest },
    [
      { hex: '00000000 0000', value: { name: '', infoTypes: [] } },
      { hex: '00000003 c3a978 0002 0003 ffff', value: { name: 'éx', infoTypes: [3, 0xffff] } },
    ],
    { isWholeBuffer: true },
  );
  const bad = {
    'too short for both lengths': '00000000 00',
    'a name longer than the data': '00000001 0000',
    'a name of 4 GiB': 'ffffffff 0000',
    'fewer requests than announced': '00000000 0002 0003',
    'more requests than announced': '00000000 0000 0003',
    'a byte too many': '00000000 0001 0003 00',
    'a NUL in the name': '00000001 00 0000',
    'a name that is not UTF-8': '00000001 ff 0000',
  };
  for (const [what, hex] of Object.entries(bad)) {
    t.throws(() => decodeInfoRequest(fromHex(hex)), ProtocolError, what);
  }
  const long = encodeInfoRequest({ name: 'a'.repeat(4096), infoTypes: [] });
  t.equal(decodeInfoRequest(long).name.length, 4096);
  const longer = Buffer.concat([fromHex('00001001'), Buffer.alloc(4097, 0x61), fromHex('0000')]);
  t.throws(() => decodeInfoRequest(longer), /4097 bytes/);
});

t.test('[nbd: NBD_REP_INFO]', async (t) => {
  testCodec(
    t,
    { encode: encodeInfoReply, decode: decodeInfoReply },
    [
      {
        hex: '0000 0000000040000000 018d',
        value: { type: 0, sizeBytes: 2 ** 30, transmissionFlags: 0x18d },
      },
      { hex: '0001 6162', value: { type: 1, text: 'ab' } },
      { hex: '0002', value: { type: 2, text: '' } },
      {
        hex: '0003 00000001 00001000 04000000',
        value: { type: 3, minimum: 1, preferred: 4096, maximum: 2 ** 26 },
      },
    ],
    { isWholeBuffer: true },
  );
  for (const hex of ['00', '0000 00', '0003 00000001', '0009']) {
    t.throws(() => decodeInfoReply(fromHex(hex)), ProtocolError, hex);
  }
});
