import { createHash, generateKeyPairSync, randomBytes } from "node:crypto";

/**
 * Ed25519 keys in the forms SSH programs keep them. The forms are built from strings as RFC 4251 section 5 writes them:
 * a 32-bit big-endian length, then the bytes.
 */
export interface Ed25519Key {
  /** 32 bytes each. */
  readonly secret: Buffer;
  readonly public: Buffer;
}

const keyType = "ssh-ed25519";

export function generateEd25519(): Ed25519Key {
  const { privateKey } = generateKeyPairSync("ed25519");
  const { d, x } = privateKey.export({ format: "jwk" });
  if (d === undefined || x === undefined) throw new Error("the platform made an Ed25519 key without its parts");
  return { secret: Buffer.from(d, "base64url"), public: Buffer.from(x, "base64url") };
}

/** A host key as dropbear keeps it: the type, then the secret and the public half in one string (dropbear, ed25519.c). */
export function dropbearHostKey(key: Ed25519Key): Buffer {
  return Buffer.concat([sshString(keyType), sshString(Buffer.concat([key.secret, key.public]))]);
}

/** Reads what `dropbearHostKey` wrote; undefined when it is something else. */
export function parseDropbearHostKey(bytes: Buffer): Ed25519Key | undefined {
  const head = sshString(keyType);
  if (bytes.length !== head.length + 4 + 64 || !bytes.subarray(0, head.length).equals(head) || bytes.readUInt32BE(head.length) !== 64) return undefined;
  const start = head.length + 4;
  return { secret: bytes.subarray(start, start + 32), public: bytes.subarray(start + 32) };
}

/** The public key as it travels and as `authorized_keys` has it in base64 (RFC 8709 section 4). */
export function publicKeyBlob(key: Pick<Ed25519Key, "public">): Buffer {
  return Buffer.concat([sshString(keyType), sshString(key.public)]);
}

/** One line of `authorized_keys`. */
export function authorizedKeysLine(key: Pick<Ed25519Key, "public">, comment: string): string {
  return `${keyType} ${publicKeyBlob(key).toString("base64")} ${comment}`;
}

/** One line of `known_hosts` (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). */
export function knownHostsLine(key: Pick<Ed25519Key, "public">, host: string): string {
  return `${host} ${keyType} ${publicKeyBlob(key).toString("base64")}`;
}

/** `SHA256:…`, as ssh shows it. */
export function fingerprint(key: Pick<Ed25519Key, "public">): string {
  return `SHA256:${createHash("sha256").update(publicKeyBlob(key)).digest("base64").replace(/=+$/, "")}`;
}

/** A private key without a passphrase in OpenSSH's own form (OpenSSH, PROTOCOL.key). */
export function openSshPrivateKey(key: Ed25519Key, comment: string): string {
  const check = randomBytes(4);
  const secrets = Buffer.concat([check, check, publicKeyBlob(key), sshString(Buffer.concat([key.secret, key.public])), sshString(comment)]);
  const padding = Buffer.from(Array.from({ length: (8 - (secrets.length % 8)) % 8 }, (_, index) => index + 1));
  const body = Buffer.concat([
    Buffer.from("openssh-key-v1\0"),
    sshString("none"), // cipher
    sshString("none"), // key derivation
    sshString(""), // its options
    uint32(1), // keys
    sshString(publicKeyBlob(key)),
    sshString(Buffer.concat([secrets, padding])),
  ]).toString("base64");
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${body.replace(/.{1,70}/g, "$&\n")}-----END OPENSSH PRIVATE KEY-----\n`;
}

function sshString(value: string | Buffer): Buffer {
  const bytes = typeof value === "string" ? Buffer.from(value) : value;
  return Buffer.concat([uint32(bytes.length), bytes]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
