import type { Finding, GuestSystem } from "../../../core/contract/model";
import type { Draft } from "./answers";

/* The first login of a cloud image: what cloud-init is told at the first boot. Pure. */

/** Makers put it into the name of the file. Debian's "nocloud" image is the one without cloud-init. */
export function isCloudImage(path: string): boolean {
  const file = (path.split(/[\\/]/).pop() ?? "").toLowerCase();
  return /cloud|generic(?![a-z])/.test(file) && !/^debian-.*nocloud/.test(file);
}

/** The name that makers of cloud images give to the first user: that of the system. */
export function userOf(system: GuestSystem | undefined): string {
  const family = system?.id.split("-")[0] ?? "";
  return family === "" || family === "other" || family === "linux" || system?.group === "Windows" ? "user" : family;
}

/** A machine's name as a host name: letters, digits and hyphens. Empty when nothing of it can be used. */
export function hostNameFrom(name: string): string {
  const plain = name.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase().replace(/[^a-z0-9]+/g, "-");
  return plain.slice(0, 63).replace(/^-+|-+$/g, "");
}

/** The keys of a text with one on each line; comments and empty lines left out, as in an authorized_keys file. */
export function authorizedKeys(text: string): string[] {
  return text.split(/\r?\n/).map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("#"));
}

// What the host service will take (`SeedSpec`); said here while it is typed.
const userPattern = /^[a-z_][a-z0-9_-]{0,31}$/;
const hostPattern = /^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$/;
const maxKeyLength = 16_384;
const maxKeys = 32;
/** sshd(8), AUTHORIZED_KEYS FILE FORMAT: options, key type, base64, comment. The base64 begins with the length of the type. */
const keyPattern = /(?:^|\s)(?:ssh-|ecdsa-|sk-)[\w@.-]+\s+AAAA[A-Za-z0-9+/]+={0,3}(?:\s|$)/;

/** What is wrong with the first login, by `user`, `access` (neither password nor key), `password`, `keys`, `hostname`. */
export function loginFindings(draft: Pick<Draft, "user" | "password" | "keys" | "hostname">): Finding[] {
  const findings: Finding[] = [];
  const error = (field: string, message: string, remedy?: string): void => void findings.push({ field, level: "error", message, ...(remedy === undefined ? {} : { remedy }) });
  if (draft.user === "") error("user", "Give the user a name.");
  else if (!userPattern.test(draft.user)) error("user", "A user name has small letters, digits, - and _, and begins with a letter.", "Take another name.");
  if (draft.hostname !== "" && !hostPattern.test(draft.hostname)) error("hostname", "A host name has letters, digits and -.", "Take another, or leave it empty.");
  if (draft.password.length > 200) error("password", "A password has at most 200 characters.");
  const keys = authorizedKeys(draft.keys);
  if (keys.some((key) => key.includes("PRIVATE KEY"))) error("keys", "That is a private key: it must stay with you.", "Give the public one; its file ends in .pub.");
  else if (keys.length > maxKeys) error("keys", `There are ${keys.length} keys; ${maxKeys} is the most.`);
  else {
    const wrong = keys.findIndex((key) => key.length > maxKeyLength || !keyPattern.test(key));
    if (wrong >= 0) error("keys", `Key ${wrong + 1} is not an SSH public key.`, "One looks like: ssh-ed25519 AAAA… you@computer");
  }
  if (draft.password === "" && keys.length === 0) error("access", "Give a password or an SSH key: without either nobody can log in.");
  return findings;
}
