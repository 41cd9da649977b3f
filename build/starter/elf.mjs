// Reads what the build needs to know of 32-bit little-endian x86 ELF files: where segments load, which libraries a
// program needs, and a section by its name (a kernel module keeps its dependencies in one).
// Source: Tool Interface Standard, ELF specification 1.2.

const loadSegment = 1;
const dynamicSegment = 2;
const tagNeeded = 1;
const tagStringTable = 5;
const noBits = 8;

/** Whether `bytes` starts like a 32-bit little-endian x86 ELF file. */
export function isElf32(bytes) {
  return (
    bytes.length >= 52 &&
    bytes.readUInt32BE(0) === 0x7f454c46 &&
    bytes[4] === 1 &&
    bytes[5] === 1 &&
    bytes.readUInt16LE(18) === 3
  );
}

/** Entry point and loadable segments: `{ entry, segments: [{ offset, virtual, physical, fileSize, memorySize }] }`, in bytes. */
export function readSegments(bytes) {
  return { entry: bytes.readUInt32LE(24), segments: programHeaders(bytes).filter((header) => header.type === loadSegment) };
}

/** The names of the shared libraries that the program or library asks for; none for a static program. */
export function neededLibraries(bytes) {
  const headers = programHeaders(bytes);
  const dynamic = headers.find((header) => header.type === dynamicSegment);
  if (dynamic === undefined) return [];
  const needed = [];
  let stringTable;
  for (let at = dynamic.offset; at + 8 <= dynamic.offset + dynamic.fileSize; at += 8) {
    const tag = bytes.readUInt32LE(at);
    const value = bytes.readUInt32LE(at + 4);
    if (tag === 0) break;
    if (tag === tagNeeded) needed.push(value);
    if (tag === tagStringTable) stringTable = value;
  }
  const holder = headers.find(
    (header) =>
      header.type === loadSegment && stringTable >= header.virtual && stringTable < header.virtual + header.fileSize,
  );
  if (needed.length > 0 && holder === undefined) throw new Error("an ELF file whose string table lies in no segment");
  return needed.map((name) => cString(bytes, holder.offset + stringTable - holder.virtual + name));
}

/** The bytes of the section called `name`, or undefined. */
export function sectionNamed(bytes, name) {
  const table = bytes.readUInt32LE(32);
  const entrySize = bytes.readUInt16LE(46);
  const count = bytes.readUInt16LE(48);
  const names = bytes.readUInt32LE(table + bytes.readUInt16LE(50) * entrySize + 16);
  for (let index = 0; index < count; index++) {
    const header = table + index * entrySize;
    if (cString(bytes, names + bytes.readUInt32LE(header)) !== name || bytes.readUInt32LE(header + 4) === noBits) continue;
    const offset = bytes.readUInt32LE(header + 16);
    return bytes.subarray(offset, offset + bytes.readUInt32LE(header + 20));
  }
  return undefined;
}

function programHeaders(bytes) {
  if (!isElf32(bytes)) throw new Error("not a 32-bit x86 ELF file");
  const table = bytes.readUInt32LE(28);
  const entrySize = bytes.readUInt16LE(42);
  return Array.from({ length: bytes.readUInt16LE(44) }, (_, index) => {
    const header = table + index * entrySize;
    return {
      type: bytes.readUInt32LE(header),
      offset: bytes.readUInt32LE(header + 4),
      virtual: bytes.readUInt32LE(header + 8),
      physical: bytes.readUInt32LE(header + 12),
      fileSize: bytes.readUInt32LE(header + 16),
      memorySize: bytes.readUInt32LE(header + 20),
    };
  });
}

function cString(bytes, at) {
  const end = bytes.indexOf(0, at);
  return bytes.toString("latin1", at, end === -1 ? bytes.length : end);
}
