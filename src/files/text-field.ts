/** A text field of fixed length that zeros or blanks fill up; undefined where nothing is left. */
export function textField(bytes: Buffer, start: number, lengthBytes: number): string | undefined {
  const field = bytes.subarray(start, start + lengthBytes);
  const end = field.indexOf(0);
  const text = field.toString('utf8', 0, end < 0 ? field.length : end).trimEnd();
  return text === '' ? undefined : text;
}

/** The same in UTF-16LE, as Windows and GPT have it. */
export function utf16Field(bytes: Buffer, start: number, lengthBytes: number): string | undefined {
  const text =
    bytes
      .toString('utf16le', start, start + lengthBytes)
      .split('\0', 1)[0]
      ?.trimEnd() ?? '';
  return text === '' ? undefined : text;
}

/** A little-endian 64-bit number. NaN where it is not a safe integer, which no bounds check lets through. */
export function uint64(bytes: Buffer, offset: number): number {
  const high = bytes.readUInt32LE(offset + 4);
  return high > 0x1fffff ? Number.NaN : high * 2 ** 32 + bytes.readUInt32LE(offset);
}
