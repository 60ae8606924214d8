// Zips in the browser: written without packing, read where they are stored or deflated.

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const UTF8 = 0x0800;
const MOST = 0xffffffff; // bytes, before which larger fields are needed
const DAMAGED = "The zip is damaged, or not whole.";

let table = null;

function crc32(bytes) {
  table ??= Uint32Array.from({ length: 256 }, (_, n) => {
    for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n;
  });
  let crc = 0xffffffff;
  for (const byte of bytes) crc = table[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** A zip of [{path, file: Blob}] as a Blob. The files are in it as they are: most of a run does not get smaller. */
export async function zipOf(files) {
  const parts = [];
  const directory = [];
  let at = 0;
  for (const { path, file } of files) {
    const name = new TextEncoder().encode(path);
    const crc = crc32(new Uint8Array(await file.arrayBuffer()));
    const about = (view, from) => {
      view.setUint16(from, 20, true);
      view.setUint16(from + 2, UTF8, true);
      view.setUint16(from + 8, 0x21, true); // the first day that a zip can tell
      view.setUint32(from + 10, crc, true);
      view.setUint32(from + 14, file.size, true);
      view.setUint32(from + 18, file.size, true);
      view.setUint16(from + 22, name.length, true);
    };
    const local = new DataView(new ArrayBuffer(30));
    local.setUint32(0, LOCAL, true);
    about(local, 4);
    parts.push(local, name, file);
    const entry = new DataView(new ArrayBuffer(46));
    entry.setUint32(0, CENTRAL, true);
    entry.setUint16(4, 20, true);
    about(entry, 6);
    entry.setUint32(42, at, true);
    directory.push(entry, name);
    at += 30 + name.length + file.size;
    if (at > MOST) throw new Error("The files are larger than 4 GB: choose the folder of one run.");
  }
  const size = directory.reduce((sum, part) => sum + part.byteLength, 0);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, END, true);
  end.setUint16(8, files.length, true);
  end.setUint16(10, files.length, true);
  end.setUint32(12, size, true);
  end.setUint32(16, at, true);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** The files of a zip, a Blob, as [{path, size, file: () => promise of a Blob}]; none is unpacked before it is asked for.
 *
 * Throws an Error with a sentence where it is none, or holds what is not read: passwords, other ways of packing. */
export async function filesOfZip(blob) {
  const tail = new DataView(await blob.slice(Math.max(0, blob.size - 65557)).arrayBuffer());
  let from = tail.byteLength - 22;
  while (from >= 0 && tail.getUint32(from, true) !== END) from -= 1;
  if (from < 0) throw new Error(DAMAGED);
  const [count, size, start] = [tail.getUint16(from + 10, true), tail.getUint32(from + 12, true), tail.getUint32(from + 16, true)];
  if (start + size > blob.size) throw new Error(DAMAGED);
  const bytes = await blob.slice(start, start + size).arrayBuffer();
  const view = new DataView(bytes);
  const found = [];
  for (let at = 0; found.length < count; ) {
    if (at + 46 > size || view.getUint32(at, true) !== CENTRAL) throw new Error(DAMAGED);
    const [flags, method] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)];
    const [packed, whole] = [view.getUint32(at + 20, true), view.getUint32(at + 24, true)];
    const [named, extra, comment] = [28, 30, 32].map((k) => view.getUint16(at + k, true));
    const offset = view.getUint32(at + 42, true);
    if (at + 46 + named > size) throw new Error(DAMAGED);
    const path = new TextDecoder().decode(new Uint8Array(bytes, at + 46, named));
    if (flags & 1) throw new Error("The zip needs a password.");
    if (method !== 0 && method !== 8) throw new Error("The zip is packed in another way than deflate.");
    found.push({ path, size: whole, file: () => unpack(blob, { offset, packed, whole, method }) });
    at += 46 + named + extra + comment;
  }
  return found.filter(({ path }) => !path.endsWith("/"));
}

// No more comes out than is said: what is larger is damaged.
async function unpack(blob, { offset, packed, whole, method }) {
  const head = new DataView(await blob.slice(offset, offset + 30).arrayBuffer());
  if (head.byteLength < 30 || head.getUint32(0, true) !== LOCAL) throw new Error(DAMAGED);
  const start = offset + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const body = blob.slice(start, start + packed);
  if (body.size !== packed) throw new Error(DAMAGED);
  if (method === 0) return body;
  const reader = body.stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  const parts = [];
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      size += value.length;
      if (size > whole) break;
      parts.push(value);
    }
  } catch {
    size = -1;
  }
  reader.cancel().catch(() => {});
  if (size !== whole) throw new Error(DAMAGED);
  return new Blob(parts);
}
