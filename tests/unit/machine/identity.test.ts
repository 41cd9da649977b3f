import { execFileSync } from "node:child_process";
import { generateKeyPairSync, createPublicKey, sign, verify } from "node:crypto";
import { open, readFile, stat, truncate, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createOverlay } from "../../../core/machine/overlay";
import { openImageFile } from "../../../core/storage/file";
import { openQcow2 } from "../../../core/storage/qcow2";
import { Steps } from "../../../core/storage/steps";
import { guestIdentity, homeKey, hostnameFor, machineIdFor } from "../../../core/machine/identity";
import { authorizedKeysLine, dropbearHostKey, fingerprint, generateEd25519, openSshPrivateKey, parseDropbearHostKey } from "../../../core/machine/sshKeys";
import { makeConfig } from "../../support/machineConfig";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const id = "0123abcd-1111-4111-8111-111111111111";

describe("a machine's host name", () => {
  it.each([
    ["web-01", "web-01"],
    ["Große Kiste", "grosse-kiste"],
    ["  Ærø / Łódź  ", "aero-lodz"],
    ["-- a --", "a"],
    ["データベース", "machine-0123abcd"],
    ["x".repeat(200), "x".repeat(63)],
  ])("of %j is %s", (name, hostname) => {
    expect(hostnameFor(name, id)).toBe(hostname);
  });

  it("is a legal label whatever the name", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 150 }), (name) => {
        expect(hostnameFor(name, id)).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
      }),
    );
  });
});

describe("a guest's identity", () => {
  const folder = useTemporaryFolder();

  it("keeps its host key and machine id, and has a fresh seed at each start", async () => {
    const config = makeConfig();
    const [first, second] = [await guestIdentity(config, folder.path, ["key"]), await guestIdentity(config, folder.path, ["key"])];
    expect(second).toEqual({ ...first, seed: second.seed });
    expect(second.seed.equals(first.seed)).toBe(false);
    expect(first.seed).toHaveLength(64);
    expect(first.machineId).toBe(machineIdFor(config.id));
    expect((await stat(join(folder.path, "seed", `dropbear_ed25519_${config.id}`))).mode & 0o777).toBe(0o600);
  });

  it("is known to ssh by the key it will have, before anybody meets it", async () => {
    const config = makeConfig();
    const { hostKey } = await guestIdentity(config, folder.path, []);
    const file = join(folder.path, "ssh", "known_hosts");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    // OpenSSH itself reads the file and the key.
    const found = execFileSync("ssh-keygen", ["-F", `terrarium-${config.id}`, "-l", "-f", file], { encoding: "utf8" });
    expect(found).toContain(`ED25519 ${fingerprint(parseDropbearHostKey(hostKey)!)}`);
    await writeFile(file, `terrarium-${config.id} ssh-ed25519 AAAA\n`);
    await guestIdentity(config, folder.path, []);
    expect(execFileSync("ssh-keygen", ["-F", `terrarium-${config.id}`, "-l", "-f", file], { encoding: "utf8" })).toBe(found);
  });

  it("says of the first disk whether anything was ever written to it", async () => {
    const file = join(folder.path, "disk.raw");
    const config = makeConfig({ disks: [{ id: "disk0", sizeBytes: 1 << 20, layers: [{ file: "disk.raw", format: "raw" }] }] });
    const isBlank = async () => (await guestIdentity(config, folder.path, [])).blankDisk;
    expect(await isBlank()).toBe(false);
    await writeFile(file, "");
    await truncate(file, 1 << 20);
    expect(await isBlank()).toBe(true);
    const layered = makeConfig({ disks: [{ id: "disk0", sizeBytes: 1 << 20, layers: [{ file: "disk.raw", format: "raw" }, { file: "top.qcow2", format: "qcow2" }] }] });
    const isLayeredBlank = async () => (await guestIdentity(layered, folder.path, [])).blankDisk;
    expect(await isLayeredBlank()).toBe(false);
    const top = join(folder.path, "top.qcow2");
    await createOverlay(top, 1 << 20, { file: "disk.raw", format: "raw" }, new Steps());
    expect(await isLayeredBlank()).toBe(true);
    const handle = await open(file, "r+");
    await handle.write("x", 500_000);
    await handle.sync();
    await handle.close();
    expect(await isBlank()).toBe(false);
    expect(await isLayeredBlank()).toBe(false);
    await truncate(file, 0);
    await truncate(file, 1 << 20);
    expect(await isLayeredBlank()).toBe(true);
    const opened = await openImageFile(top, { readOnly: false });
    if (!opened.ok) throw new Error(opened.error);
    const image = await openQcow2(opened.value, { name: "top.qcow2", backing: null });
    await image.write(4096, new Uint8Array(512).fill(1));
    await image.close();
    expect(await isLayeredBlank()).toBe(false);
  });

  it("differs in everything from that of a copy, which has another id", async () => {
    const one = makeConfig();
    const copy = { ...one, id: "99999999-1111-4111-8111-111111111111" };
    const [first, second] = [await guestIdentity(one, folder.path, []), await guestIdentity(copy, folder.path, [])];
    expect(second.machineId).not.toBe(first.machineId);
    expect(second.hostKey.equals(first.hostKey)).toBe(false);
  });
});

describe("SSH keys", () => {
  const folder = useTemporaryFolder();

  it("are read back as dropbear keeps them, and nothing else is", () => {
    const key = generateEd25519();
    const bytes = dropbearHostKey(key);
    expect(bytes.subarray(0, 19).toString("latin1")).toBe("\0\0\0\u000bssh-ed25519\0\0\0\u0040");
    expect(parseDropbearHostKey(bytes)).toEqual(key);
    for (const damaged of [bytes.subarray(1), Buffer.concat([bytes, bytes]), Buffer.alloc(0)]) expect(parseDropbearHostKey(damaged)).toBeUndefined();
  });

  it("of a home are made once, for its owner alone, and made anew when the secret half is lost", async () => {
    const line = await homeKey(folder.path);
    expect(line).toMatch(/^ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43} terrarium$/);
    expect(await homeKey(folder.path)).toBe(line);
    const path = join(folder.path, "ssh", "id_ed25519");
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await unlink(path);
    expect(await homeKey(folder.path)).not.toBe(line);
  });

  it("are private keys in OpenSSH's form: the public key in it is the secret one's", () => {
    const key = generateEd25519();
    const text = openSshPrivateKey(key, "a comment");
    const body = Buffer.from(text.split("\n").slice(1, -2).join(""), "base64");
    expect(body.subarray(0, 15).toString("latin1")).toBe("openssh-key-v1\0");
    let at = 15;
    const string = (): Buffer => {
      const length = body.readUInt32BE(at);
      at += 4 + length;
      return body.subarray(at - length, at);
    };
    expect([string().toString(), string().toString(), string().length]).toEqual(["none", "none", 0]);
    expect(body.readUInt32BE(at)).toBe(1);
    at += 4;
    const blob = string();
    expect(authorizedKeysLine(key, "x")).toBe(`ssh-ed25519 ${blob.toString("base64")} x`);
    const secrets = string();
    expect(at).toBe(body.length);
    expect(secrets.length % 8).toBe(0);
    expect(secrets.subarray(0, 4).equals(secrets.subarray(4, 8))).toBe(true);
    expect(secrets.includes(Buffer.concat([key.secret, key.public]))).toBe(true);
    expect(secrets.includes("a comment")).toBe(true);
  });

  it("really sign: the halves belong together", () => {
    const key = generateEd25519();
    const jwk = { kty: "OKP", crv: "Ed25519", x: key.public.toString("base64url") };
    const { privateKey } = generateKeyPairSync("ed25519");
    const own = createPublicKey({ key: jwk, format: "jwk" });
    const signer = { key: { ...jwk, d: key.secret.toString("base64url") }, format: "jwk" as const };
    expect(verify(null, Buffer.from("text"), own, sign(null, Buffer.from("text"), signer))).toBe(true);
    expect(verify(null, Buffer.from("text"), own, sign(null, Buffer.from("text"), privateKey))).toBe(false);
    expect(fingerprint(key)).toMatch(/^SHA256:[A-Za-z0-9+/]{43}$/);
  });

  it("are what another program reads", async () => {
    await homeKey(folder.path);
    const publicLine = (await readFile(join(folder.path, "ssh", "id_ed25519.pub"), "utf8")).trim();
    const [type, base64] = publicLine.split(" ");
    const blob = Buffer.from(base64 ?? "", "base64");
    expect(type).toBe("ssh-ed25519");
    expect(blob.subarray(4, 15).toString()).toBe("ssh-ed25519");
    expect(blob.readUInt32BE(15)).toBe(32);
    expect(blob).toHaveLength(51);
  });
});
