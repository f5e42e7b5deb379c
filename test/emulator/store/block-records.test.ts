import t from 'tap';
import {
  decodeRecord,
  encodeRecord,
  RECORD_BYTES,
  type BlockRecord,
} from '../../../src/emulator/store/block-records.js';

const record: BlockRecord = {
  blockIndex: 134_217_727,
  sequence: 2 ** 47 + 5,
  putAtMs: Date.UTC(2026, 5, 7),
  isZero: true,
  digest: Buffer.alloc(32, 0xab),
};

t.test('a record is read as it was written', async (t) => {
  const bytes = encodeRecord(record);
  t.equal(bytes.length, RECORD_BYTES);
  t.strictSame(decodeRecord(bytes, 0), record);
  const shifted = Buffer.concat([Buffer.alloc(RECORD_BYTES, 1), bytes]);
  t.strictSame(decodeRecord(shifted, RECORD_BYTES), record);
  t.equal(decodeRecord(shifted, 0), undefined);
});

t.test('a record that was cut or changed anywhere is none', async (t) => {
  const bytes = encodeRecord(record);
  const survivors: string[] = [];
  for (let at = 0; at < RECORD_BYTES; at++) {
    const torn = Buffer.concat([bytes.subarray(0, at), Buffer.alloc(RECORD_BYTES - at)]);
    if (decodeRecord(bytes.subarray(0, at), 0) !== undefined) survivors.push(`cut at ${at}`);
    if (!torn.equals(bytes) && decodeRecord(torn, 0) !== undefined) survivors.push(`torn at ${at}`);
    const changed = Buffer.from(bytes);
    changed[at]! ^= 1;
    if (decodeRecord(changed, 0) !== undefined) survivors.push(`changed at ${at}`);
  }
  t.strictSame(survivors, []);
  t.equal(decodeRecord(Buffer.alloc(RECORD_BYTES), 0), undefined, 'nor are zeros');
});
