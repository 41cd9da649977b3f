// Writes an initial ramdisk: the "newc" cpio format (Linux Documentation/driver-api/early-userspace/buffer-format).
// Owners, times and inode numbers are fixed, so the same tree always gives the same bytes.

const headerBytes = 110;
const typeBits = { file: 0o100000, directory: 0o040000, link: 0o120000, character: 0o020000 };

/**
 * @typedef {{ type: "file", content: Buffer, mode: number }
 *   | { type: "directory", mode: number }
 *   | { type: "link", target: string }
 *   | { type: "character", mode: number, major: number, minor: number }} Node
 */

/**
 * The archive of `tree`, a map from absolute path ("/bin/sh") to what lies there. Missing parent directories are added.
 * @param {Map<string, Node>} tree
 * @returns {Buffer}
 */
export function writeCpio(tree) {
  const complete = withParents(tree);
  const parts = [];
  let inode = 1;
  for (const path of [...complete.keys()].sort()) {
    parts.push(...entry(path.slice(1), complete.get(path), inode++));
  }
  parts.push(...entry("TRAILER!!!", { type: "file", content: Buffer.alloc(0), mode: 0 }, 0));
  const archive = Buffer.concat(parts);
  return Buffer.concat([archive, zeros(archive.length, 512)]);
}

function withParents(tree) {
  const complete = new Map(tree);
  for (const path of tree.keys()) {
    if (!path.startsWith("/") || path.split("/").slice(1).some((part) => part === "" || part === "." || part === "..")) {
      throw new Error(`not a clean absolute path for the initial ramdisk: ${JSON.stringify(path)}`);
    }
    for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) {
      const parent = path.slice(0, end);
      const there = complete.get(parent);
      if (there === undefined) complete.set(parent, { type: "directory", mode: 0o755 });
      else if (there.type !== "directory") throw new Error(`${path} lies below ${parent}, which is a ${there.type}`);
    }
  }
  return complete;
}

function entry(name, node, inode) {
  const content = node.type === "file" ? node.content : node.type === "link" ? Buffer.from(node.target) : Buffer.alloc(0);
  const mode = name === "TRAILER!!!" ? 0 : typeBits[node.type] | (node.type === "link" ? 0o777 : node.mode);
  const nameBytes = Buffer.from(`${name}\0`);
  const fields = [
    inode,
    mode,
    0, // uid
    0, // gid
    node.type === "directory" ? 2 : 1,
    0, // mtime
    content.length,
    0, // device of the file itself
    0,
    node.type === "character" ? node.major : 0,
    node.type === "character" ? node.minor : 0,
    nameBytes.length,
    0, // checksum, unused in "070701"
  ];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).toUpperCase().padStart(8, "0")).join("")}`);
  return [header, nameBytes, zeros(headerBytes + nameBytes.length, 4), content, zeros(content.length, 4)];
}

/** As many zero bytes as bring `length` to a multiple of `unit`. */
function zeros(length, unit) {
  return Buffer.alloc((unit - (length % unit)) % unit);
}
