/** A UUID in the order of its text, as filesystems of Unix store it; undefined where all bytes are zero. */
export function uuidOf(bytes: Uint8Array): string | undefined {
  if (bytes.every((byte) => byte === 0)) return undefined;
  return dashed(Buffer.from(bytes).toString('hex'));
}

/** A GUID as GPT stores it: the first three fields little-endian. */
export function guidOf(bytes: Buffer): string {
  const first = [
    bytes.readUInt32LE(0).toString(16).padStart(8, '0'),
    bytes.readUInt16LE(4).toString(16).padStart(4, '0'),
    bytes.readUInt16LE(6).toString(16).padStart(4, '0'),
  ];
  return dashed(first.join('') + bytes.toString('hex', 8, 16));
}

function dashed(hex: string): string {
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
