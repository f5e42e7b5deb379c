import t from 'tap';
import { decodeString, encodeString, quoteName } from '../../../src/nbd/codec/wire-string.js';
import { ProtocolError } from '../../../src/nbd/protocol-error.js';

t.test('[nbd: Conventions; nbd-rule 11] strings are UTF-8, without NUL, of at most 4096 bytes', async (t) => {
  for (const text of ['', 'disk', 'Größe', '磁盘', '💾', '\ufeffbom', 'a'.repeat(4096)]) {
    t.equal(decodeString(encodeString(text)), text);
  }
  t.throws(() => decodeString(Buffer.alloc(4097, 0x61)), ProtocolError);
  t.throws(() => decodeString(Buffer.from('a\0b')), /NUL/);
  for (const hex of ['ff', 'c0af', 'eda080', 'f4908080', 'c3']) {
    t.throws(() => decodeString(Buffer.from(hex, 'hex')), /UTF-8/, hex);
  }
});

t.test('what is too long is cut at a whole character', async (t) => {
  t.equal(encodeString('é'.repeat(3000)).length, 4096);
  const cut = encodeString(`a${'é'.repeat(3000)}`);
  t.equal(cut.length, 4095);
  t.equal(decodeString(cut), `a${'é'.repeat(2047)}`);
  t.equal(encodeString(`${'x'.repeat(4095)}💾`).length, 4095);
  t.equal(encodeString('a\0b').toString(), 'ab');
});

t.test(
  "[nbd-rule 11; CVE-2020-10761, CVE-2017-15118] a client's name is cut before it is repeated",
  async (t) => {
    t.equal(quoteName('disk'), '"disk"');
    t.equal(quoteName('a"b\n\u001b[31m'), String.raw`"a\"b\n\u001b[31m"`);
    t.ok(quoteName('x'.repeat(4096)).length < 100);
    t.ok(encodeString(quoteName('💾'.repeat(2000))).length < 400);
  },
);
