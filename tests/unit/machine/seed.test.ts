import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IsoImage } from "../../../core/machine/isoImage";
import { hashPassword, seedImage, type SeedOptions } from "../../../core/machine/seed";

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2Qx3vT9v8yH3sVQw8cR0pQm3kq1vF0mCwJ7z6o0o8k anna@home";
const options: SeedOptions = { hostname: "web", instanceId: "id-1", user: "anna", passwordHash: hashPassword("geheim", "salt"), authorizedKeys: [key] };

async function text(image: Buffer, name: string): Promise<string | undefined> {
  const iso = await IsoImage.open((offset, length) => Promise.resolve(image.subarray(offset, offset + length)));
  const bytes = await iso?.readFile(name, 100_000);
  return bytes && Buffer.from(bytes).toString("utf8");
}

/** What stands in the lines of `user-data`, each value read as JSON. */
async function userData(image: Buffer): Promise<Record<string, unknown>> {
  const lines = ((await text(image, "/user-data")) ?? "").split("\n").filter((line) => /: |- "/.test(line));
  return Object.fromEntries(lines.map((line) => {
    const [, name, value] = /^ *(?:- |(\w+): )(.*)$/.exec(line) ?? [];
    return [name ?? "key", JSON.parse(value ?? "") as unknown];
  }));
}

describe("seedImage", () => {
  it("holds what cloud-init reads, under its exact names", async () => {
    const image = seedImage(options);
    expect(await text(image, "/meta-data")).toBe('instance-id: "id-1"\nlocal-hostname: "web"\n');
    expect((await text(image, "/user-data"))?.startsWith("#cloud-config\n")).toBe(true);
    expect(await userData(image)).toEqual({ hostname: "web", name: "anna", lock_passwd: false, passwd: options.passwordHash, key, ssh_pwauth: true });
    expect(await text(image, "/network-config")).toBeUndefined();
    expect(await text(seedImage({ ...options, adapters: ["52:54:00:00:00:01"] }), "/network-config")).toContain('macaddress: "52:54:00:00:00:01"\n    dhcp4: true');
  });

  it("locks the password, also for SSH, when only keys are given", async () => {
    expect(await userData(seedImage({ ...options, passwordHash: undefined }))).toEqual({ hostname: "web", name: "anna", lock_passwd: true, key, ssh_pwauth: false });
  });

  it("has packages installed, from lists that are new, when any are given", async () => {
    const packages = await text(seedImage({ ...options, packages: ["nginx", "libstdc++6"] }), "/user-data");
    expect(packages).toContain('package_update: true\npackages:\n  - "nginx"\n  - "libstdc++6"\n');
    expect(await text(seedImage({ ...options, packages: [] }), "/user-data")).not.toContain("package");
  });

  it("is the same for the same input", () => {
    expect(seedImage(options).equals(seedImage({ ...options }))).toBe(true);
    expect(seedImage(options).equals(seedImage({ ...options, time: Date.UTC(2026, 0, 1) }))).toBe(false);
    expect(hashPassword("geheim")).not.toBe(hashPassword("geheim"));
  });

  it.each<[string, Partial<SeedOptions>, string]>([
    ["a user name with a line break", { user: "anna\nroot" }, "cannot be the name of a user"],
    ["a user name that is structure", { user: 'a", "sudo": "ALL' }, "cannot be the name of a user"],
    ["an option as a user name", { user: "-r" }, "cannot be the name of a user"],
    ["root", { user: "root" }, "is not root"],
    ["a host name with a space", { hostname: "my web" }, "cannot be the name of a host"],
    ["a host name with a line break", { hostname: "web\nruncmd: [reboot]" }, "cannot be the name of a host"],
    ["a host name of 300 letters", { hostname: "x".repeat(300) }, "cannot be the name of a host"],
    ["an instance id with a line break", { instanceId: "a\nb" }, "cannot be the id"],
    ["a password that is not hashed", { passwordHash: "geheim" }, "not hashed"],
    ["a private key", { authorizedKeys: ["-----BEGIN OPENSSH PRIVATE KEY-----"] }, "private key"],
    ["two keys in one", { authorizedKeys: [`${key}\n${key}`] }, "not a public key"],
    ["a key with options", { authorizedKeys: [`command="reboot" ${key}`] }, "not a public key"],
    ["a key whose comment breaks lines where only some see it", { authorizedKeys: [`${key}\u2028x`] }, "not a public key"],
    ["nothing to log in with", { passwordHash: undefined, authorizedKeys: [] }, "Nobody could log in"],
    ["too many keys", { authorizedKeys: Array.from({ length: 51 }, () => key) }, "too many"],
    ["a package that is an option", { packages: ["--allow-unauthenticated"] }, "not the name of a package"],
    ["a package with a line break", { packages: ["vim\nruncmd: [reboot]"] }, "not the name of a package"],
    ["too many packages", { packages: Array.from({ length: 101 }, () => "vim") }, "too many"],
    ["an adapter that is none", { adapters: ["52:54:00"] }, "not the address"],
  ])("refuses %s", (_, change, message) => {
    expect(() => seedImage({ ...options, ...change })).toThrow(message);
  });

  it("never says a password or a private key in an error", () => {
    const secret = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ";
    expect(() => seedImage({ ...options, authorizedKeys: [`-----BEGIN OPENSSH PRIVATE KEY-----\n${secret}`] })).toThrow(expect.objectContaining({ message: expect.not.stringContaining(secret) as string }) as Error);
    expect(() => seedImage({ ...options, passwordHash: secret })).toThrow(expect.objectContaining({ message: expect.not.stringContaining(secret) as string }) as Error);
  });

  it("makes of anything that was typed either a refusal or exactly that", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "binary", maxLength: 30 }), fc.string({ unit: "grapheme", maxLength: 30 }), async (name, comment) => {
        for (const change of [{ user: name }, { hostname: name }, { authorizedKeys: [`${key.slice(0, 60)} ${comment}`] }]) {
          const all = { ...options, ...change };
          let image: Buffer;
          try {
            image = seedImage(all);
          } catch (refusal) {
            expect(refusal).toMatchObject({ code: "invalid-input" });
            continue;
          }
          expect(await userData(image)).toMatchObject({ name: all.user, hostname: all.hostname, key: all.authorizedKeys[0] });
        }
      }),
      { numRuns: 150 },
    );
  });
});

describe("hashPassword", () => {
  it("refuses what nobody can type", () => {
    for (const password of ["", "a\nb", "a\0b", "x".repeat(257)]) expect(() => hashPassword(password)).toThrow(expect.objectContaining({ code: "invalid-input" }) as Error);
  });
});
