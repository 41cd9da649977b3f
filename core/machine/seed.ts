import { randomBytes } from "node:crypto";
import { TerrariumError } from "../contract/errors";
import { MacAddress } from "../contract/model";
import { writeIso, type IsoFile } from "../storage/formats/isoWriter";
import { sha512Crypt } from "./sha512Crypt";

/*
 * The disc with which a cloud image is told, on its first start, who may log in and what to install (cloud-init, data source NoCloud): a volume
 * labelled `cidata` with `meta-data`, `user-data` and, where the adapters are given, `network-config`.
 */

export interface SeedOptions {
  readonly hostname: string;
  /** cloud-init does its work once for each; another id makes it do it again. */
  readonly instanceId: string;
  readonly user: string;
  /** As `hashPassword` makes it. */
  readonly passwordHash?: string | undefined;
  /** Lines of `authorized_keys`. */
  readonly authorizedKeys: readonly string[];
  /** Names of packages, as the image's own package manager knows them. */
  readonly packages?: readonly string[] | undefined;
  /** MAC addresses of adapters that get their address by DHCP. Without them the image sees to its first adapter by itself. */
  readonly adapters?: readonly string[] | undefined;
  /** Of the files, milliseconds since the Unix epoch. */
  readonly time?: number | undefined;
}

/**
 * The disc's image, the same for the same input.
 * @throws TerrariumError `invalid-input`
 */
export function seedImage(options: SeedOptions): Buffer {
  const { time, adapters } = options;
  check(options);
  const files: IsoFile[] = [file("meta-data", metaData(options)), file("user-data", userData(options))];
  if (adapters !== undefined && adapters.length > 0) files.push(file("network-config", networkConfig(adapters)));
  return writeIso({ label: "cidata", files, ...(time === undefined ? {} : { time }) });
}

/** A password as `SeedOptions.passwordHash` wants it. The salt is drawn unless it is given, for tests. */
export function hashPassword(password: string, salt: string = randomSalt()): string {
  if (password === "") throw new TerrariumError("invalid-input", "The password is empty.", "Choose a password, or give a key instead.");
  if (Buffer.byteLength(password) > mostPasswordBytes) throw new TerrariumError("invalid-input", `The password is longer than ${mostPasswordBytes} bytes.`, "Choose a shorter one.");
  if (/\p{Cc}/u.test(password)) throw new TerrariumError("invalid-input", "The password has a character that cannot be typed.", "Choose one without line breaks and tabs.");
  return sha512Crypt(password, salt);
}

/** The work of hashing grows with it. */
const mostPasswordBytes = 256;

function randomSalt(): string {
  // 12 bytes are 16 characters; of base64 only "+" is not crypt's.
  return randomBytes(12).toString("base64").replaceAll("+", ".");
}

const mostKeys = 50;
const mostKeyLength = 16 * 1024;
const mostPackages = 100;
/** None begins as an option does: they are words of a command line in the guest. */
const packageName = /^[A-Za-z0-9][A-Za-z0-9+._:=~-]{0,127}$/;
const keyLine = /^(?:ssh-(?:ed25519|rsa|dss)|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]+={0,2}(?: [^\p{C}\p{Zl}\p{Zp}]*)?$/u;

function check({ hostname, instanceId, user, passwordHash, authorizedKeys, packages = [], adapters = [] }: SeedOptions): void {
  const refuse = (message: string, remedy: string): never => {
    throw new TerrariumError("invalid-input", message, remedy);
  };
  // useradd(8), with the length that utmp holds.
  if (!/^[a-z_][a-z0-9_-]{0,31}$/.test(user)) refuse(`${JSON.stringify(user.slice(0, 64))} cannot be the name of a user.`, "Use up to 32 small letters, digits, - and _, beginning with a letter.");
  if (user === "root") refuse("The user of a cloud image is not root.", "Choose another name; that user may become root by sudo.");
  // RFC 1123 2.1.
  if (hostname.length > 253 || !/^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/.test(hostname)) refuse(`${JSON.stringify(hostname.slice(0, 64))} cannot be the name of a host.`, "Use letters, digits and - only.");
  if (!/^[A-Za-z0-9-]{1,64}$/.test(instanceId)) refuse(`${JSON.stringify(instanceId.slice(0, 64))} cannot be the id of an instance.`, "Use up to 64 letters, digits and -.");
  if (passwordHash !== undefined && !/^\$6\$(?:rounds=\d{4,9}\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{86}$/.test(passwordHash)) refuse("The password is not hashed.", "This is a fault of Terrarium. Please report it.");
  if (authorizedKeys.length > mostKeys) refuse(`${authorizedKeys.length} keys are too many.`, `Give at most ${mostKeys}.`);
  for (const key of authorizedKeys) {
    if (/PRIVATE KEY/.test(key)) refuse("This is a private key. It must not leave your computer.", "Give the public one: the file of the same name that ends in .pub.");
    if (key.length > mostKeyLength || !keyLine.test(key)) refuse(`${JSON.stringify(key.slice(0, 40))} is not a public key of SSH.`, 'Give the line from a file that ends in .pub; it begins with "ssh-ed25519" or the like.');
  }
  if (packages.length > mostPackages) refuse(`${packages.length} packages are too many.`, `Give at most ${mostPackages}, and install the others later.`);
  for (const name of packages) if (!packageName.test(name)) refuse(`${JSON.stringify(name.slice(0, 64))} is not the name of a package.`, "Use letters, digits and + . _ : = ~ - only, beginning with a letter or digit.");
  if (passwordHash === undefined && authorizedKeys.length === 0) refuse("Nobody could log in: there is neither a password nor a key.", "Give a password, a public key, or both.");
  for (const mac of adapters) if (!MacAddress.safeParse(mac).success) refuse(`${JSON.stringify(mac.slice(0, 40))} is not the address of an adapter.`, "Give six hexadecimal pairs with colons between them.");
}

/*
 * YAML: every scalar is written as a JSON string, number or boolean, which YAML reads as the same (YAML 1.2, 10.2), so nothing
 * that was typed can become structure.
 */
const scalar = (value: string | boolean | number): string => JSON.stringify(value);

function metaData({ hostname, instanceId }: SeedOptions): string {
  return `instance-id: ${scalar(instanceId)}\nlocal-hostname: ${scalar(hostname)}\n`;
}

function userData({ hostname, user, passwordHash, authorizedKeys, packages = [] }: SeedOptions): string {
  // `user` changes the image's own default user, so its shell, groups and sudo are what the image's makers chose.
  const lines = ["#cloud-config", `hostname: ${scalar(hostname)}`, "user:", `  name: ${scalar(user)}`, `  lock_passwd: ${scalar(passwordHash === undefined)}`];
  if (passwordHash !== undefined) lines.push(`  passwd: ${scalar(passwordHash)}`);
  if (authorizedKeys.length > 0) lines.push("  ssh_authorized_keys:", ...authorizedKeys.map((key) => `    - ${scalar(key)}`));
  lines.push("users:", "  - default", `ssh_pwauth: ${scalar(passwordHash !== undefined)}`);
  // An image's own lists of packages are as old as the image.
  if (packages.length > 0) lines.push("package_update: true", "packages:", ...packages.map((name) => `  - ${scalar(name)}`));
  return `${lines.join("\n")}\n`;
}

/** Network configuration version 2, by address, because names differ between systems. */
function networkConfig(adapters: readonly string[]): string {
  const entries = adapters.flatMap((mac, index) => [`  adapter${index}:`, "    match:", `      macaddress: ${scalar(mac)}`, "    dhcp4: true"]);
  return `${["version: 2", "ethernets:", ...entries].join("\n")}\n`;
}

function file(name: string, text: string): IsoFile {
  return { name, content: Buffer.from(text, "utf8") };
}
