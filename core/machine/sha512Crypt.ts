import { createHash } from "node:crypto";

/**
 * A password as `/etc/shadow` holds it: SHA-512 crypt, `$6$salt$hash` (Ulrich Drepper, "Unix crypt using SHA-256 and
 * SHA-512", version 0.6; the numbers in the comments are its steps). Every Linux of today reads it.
 * @param salt up to 16 characters of `./0-9A-Za-z`
 * @param rounds how often it is stirred; what is not the default is written into the hash
 */
export function sha512Crypt(password: string, salt: string, rounds?: number): string {
  if (!/^[./0-9A-Za-z]{1,16}$/.test(salt)) throw new RangeError("the salt is not of the characters that crypt knows");
  const key = Buffer.from(password, "utf8");
  const salted = Buffer.from(salt, "latin1");
  const times = Math.min(Math.max(rounds ?? defaultRounds, 1000), 999_999_999);

  const b = digest(key, salted, key); // 4-8
  const a = createHash("sha512").update(key).update(salted).update(repeated(b, key.length)); // 1-3, 9-10
  for (let bits = key.length; bits > 0; bits >>= 1) a.update(bits & 1 ? b : key); // 11
  let result = a.digest(); // 12
  const p = repeated(digest(...Array.from({ length: key.length }, () => key)), key.length); // 13-16
  const s = repeated(digest(...Array.from({ length: 16 + (result[0] ?? 0) }, () => salted)), salted.length); // 17-20
  for (let round = 0; round < times; round++) {
    // 21
    const odd = round % 2 === 1;
    const hash = createHash("sha512").update(odd ? p : result);
    if (round % 3 !== 0) hash.update(s);
    if (round % 7 !== 0) hash.update(p);
    result = hash.update(odd ? result : p).digest();
  }
  return `$6$${rounds === undefined ? "" : `rounds=${times}$`}${salt}$${encode(result)}`;
}

const defaultRounds = 5000;

function digest(...parts: readonly Buffer[]): Buffer {
  const hash = createHash("sha512");
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** The digest over and over, cut to `length`. */
function repeated(bytes: Buffer, length: number): Buffer {
  return Buffer.alloc(length, bytes);
}

const alphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** 22: three bytes make four characters, lowest bits first; the bytes are taken 21 apart, each group beginning elsewhere. */
function encode(bytes: Buffer): string {
  let text = "";
  const put = (value: number, characters: number): void => {
    for (let left = value, i = 0; i < characters; i++, left >>= 6) text += alphabet[left & 63] ?? "";
  };
  let [x, y, z] = [0, 21, 42];
  for (let group = 0; group < 21; group++) {
    put(((bytes[x] ?? 0) << 16) | ((bytes[y] ?? 0) << 8) | (bytes[z] ?? 0), 4);
    [x, y, z] = [y + 1, z + 1, x + 1];
  }
  put(bytes[63] ?? 0, 2);
  return text;
}
