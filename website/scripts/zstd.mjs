// Writes a Zstandard frame of uncompressed blocks (RFC 8878): what tests need of an encoder.

/** @param {Uint8Array} data */
export function zstdStore(data) {
  const head = Buffer.alloc(9);
  head.writeUInt32LE(0xfd2fb528, 0);
  // Single segment, content size in four bytes, no checksum, no dictionary.
  head.writeUInt8(0xa0, 4);
  head.writeUInt32LE(data.length, 5);
  const parts = [head];
  const block = 128 * 1024;
  for (let at = 0; at === 0 || at < data.length; at += block) {
    const piece = data.subarray(at, at + block);
    const last = at + block >= data.length ? 1 : 0;
    const header = Buffer.alloc(3);
    header.writeUIntLE(last | (piece.length << 3), 0, 3);
    parts.push(header, Buffer.from(piece));
  }
  return Buffer.concat(parts);
}
