import { createHash, randomBytes } from "node:crypto";
import { access, mkdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { MachineConfig } from "../contract/model";
import { hostKeyAlias, knownHostsFile } from "../contract/sshRoute";
import { layerFile } from "../engine/engine";
import { isMissing } from "../storage/fileErrors";
import { writeFileAtomically } from "../storage/atomicFile";
import { isUnwritten } from "./overlay";
import { authorizedKeysLine, dropbearHostKey, generateEd25519, knownHostsLine, openSshPrivateKey, parseDropbearHostKey, type Ed25519Key } from "./sshKeys";

/**
 * What tells a guest from every other: machines that come from one pre-booted state are one guest until they get this.
 * It is applied before a disk, a link or a login exists.
 */
export interface GuestIdentity {
  readonly hostname: string;
  /** 32 hexadecimal digits, as systemd's machine-id. */
  readonly machineId: string;
  /** Fresh with every start. */
  readonly seed: Buffer;
  /** The SSH host key as dropbear keeps it. */
  readonly hostKey: Buffer;
  readonly authorizedKeys: readonly string[];
  /** By slot; slots without a card are absent. */
  readonly macs: readonly string[];
  /** Nothing was ever written to the first disk, so that the guest may make a file system on it. */
  readonly blankDisk: boolean;
}

/** Letters of the Latin script that do not come apart into a plain one and an accent. */
const latinLetters: Record<string, string> = { ß: "ss", æ: "ae", œ: "oe", ø: "o", ł: "l", đ: "d", ð: "d", þ: "th" };

/**
 * A machine's name as a host name (RFC 1123 section 2.1): letters, digits and inner hyphens, at most 63. A name that leaves
 * nothing behind, like one in another script, becomes `machine-` and digits of the machine's id, so that it stays its own.
 */
export function hostnameFor(name: string, id: string): string {
  const slug = name
    .toLowerCase()
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]/g, "")
    .replace(/[ßæœøłđðþ]/g, (letter) => latinLetters[letter] ?? letter)
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 63)
    .replace(/-+$/, "");
  return slug === "" ? `machine-${id.slice(0, 8)}` : slug;
}

/** 32 hexadecimal digits from the machine's UUID; hashed, because the UUID itself is no secret but names the machine elsewhere. */
export function machineIdFor(id: string): string {
  return createHash("sha256").update(`terrarium machine-id ${id}`).digest("hex").slice(0, 32);
}

/**
 * Collects the identity of a machine. The host key is made once and kept in the machine's folder, and its public half where ssh looks for it.
 * @param spareMacs addresses of the cards that wait in slots without an adapter
 */
export async function guestIdentity(config: MachineConfig, folder: string, authorizedKeys: readonly string[], spareMacs: readonly string[] = []): Promise<GuestIdentity> {
  const key = await hostKey(folder, config.id);
  await makeKnown(key, folder, config.id);
  return {
    hostname: hostnameFor(config.name, config.id),
    machineId: machineIdFor(config.id),
    seed: randomBytes(64),
    hostKey: dropbearHostKey(key),
    authorizedKeys,
    macs: [...config.adapters.map((adapter) => adapter.mac), ...spareMacs],
    blankDisk: await isBlank(config, folder),
  };
}

/**
 * Whether nothing was ever written to the first disk: a raw image of zeroes that the host's file system never had to store,
 * and nothing in the layers above it, which snapshots made.
 */
async function isBlank(config: MachineConfig, folder: string): Promise<boolean> {
  const [base, ...above] = config.disks[0]?.layers ?? [];
  if (base?.format !== "raw" || above.some(({ format }) => format !== "qcow2")) return false;
  try {
    if ((await stat(layerFile(base, folder))).blocks !== 0) return false;
    for (const layer of above) if (!(await isUnwritten(layerFile(layer, folder)))) return false;
    return true;
  } catch (error) {
    // The machine process has said so, or will: it opens the disk.
    if (isMissing(error)) return false;
    throw error;
  }
}

/** The machine's SSH host key, made when it is missing or unreadable. Its file bears the machine's id, so that a copied folder, which gets another id, gets another key. */
async function hostKey(folder: string, id: string): Promise<Ed25519Key> {
  const path = join(folder, "seed", `dropbear_ed25519_${id}`);
  try {
    const known = parseDropbearHostKey(await readFile(path));
    if (known) return known;
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  const key = generateEd25519();
  await mkdir(join(folder, "seed"), { recursive: true, mode: 0o700 });
  await writeFileAtomically(path, dropbearHostKey(key), { mode: 0o600 });
  return key;
}

/** Lets ssh know the key before it first meets it. */
async function makeKnown(key: Ed25519Key, folder: string, id: string): Promise<void> {
  const path = join(folder, knownHostsFile);
  const line = `${knownHostsLine(key, hostKeyAlias(id))}\n`;
  try {
    if ((await readFile(path, "utf8")) === line) return;
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFileAtomically(path, line, { mode: 0o600 });
}

/**
 * The home's own key pair, `ssh/id_ed25519` and `ssh/id_ed25519.pub`, made when missing. Answers the line that lets its
 * holder in.
 */
export async function homeKey(home: string): Promise<string> {
  const folder = join(home, "ssh");
  const publicPath = join(folder, "id_ed25519.pub");
  try {
    await access(join(folder, "id_ed25519"));
    const line = (await readFile(publicPath, "utf8")).trim();
    if (line !== "") return line;
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  const key = generateEd25519();
  const comment = "terrarium";
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFileAtomically(join(folder, "id_ed25519"), openSshPrivateKey(key, comment), { mode: 0o600 });
  await writeFileAtomically(publicPath, `${authorizedKeysLine(key, comment)}\n`, { mode: 0o644 });
  return authorizedKeysLine(key, comment);
}
