import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectHost, type HostConnection } from "../../core/server/client";
import { AptMirror, type MadePackage } from "../support/aptMirror";
import { makeCloudInitGuest } from "../support/cloudInitGuest";
import { CommandLine } from "../support/commandLine";
import { cloudGuestReady } from "../support/guestPackages";
import { World } from "../support/namespaces";
import { SerialShell } from "../support/serialShell";
import { useTemporaryFolder } from "../support/temporaryFolder";

const mirrorPort = 8080;
const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2Qx3vT9v8yH3sVQw8cR0pQm3kq1vF0mCwJ7z6o0o8k anna@home";

/** Two packages, of which one needs the other, and one that nobody wants. */
const packages: readonly MadePackage[] = [
  { name: "glass-words", version: "1.2", files: { "/usr/share/glass/words": "seen through glass\n" } },
  { name: "glass-greeting", version: "3.4", depends: ["glass-words (>= 1.0)"], files: { "/usr/bin/glass-greeting": '#!/bin/sh\necho "$1: $(cat /usr/share/glass/words)"\n' }, postinst: "glass-greeting configured > /var/lib/glass-greeting" },
  { name: "glass-unwanted", version: "9", files: { "/usr/share/glass/unwanted": "\n" } },
];

/** The host is a namespace; outside of it stand the mirror and the name server that knows where that is. */
describe("a seed that names packages", () => {
  const folder = useTemporaryFolder();
  let world: World;
  let mirror: AptMirror;
  let terrarium: CommandLine;
  let host: HostConnection | undefined;

  beforeAll(async () => {
    mirror = await AptMirror.create(packages);
    world = await World.create();
    await mirror.serve(world.outside, mirrorPort);
    terrarium = await CommandLine.open(world.host.prefix);
  });

  afterAll(async () => {
    host?.close();
    await terrarium?.close();
    await world?.dispose();
    await mirror?.dispose();
  });

  it("has cloud-init install them behind NAT from a mirror outside, with what they depend on, beside the login", { timeout: 900_000 }, async ({ onTestFailed }) => {
    const { kernel, initrd, cmdline } = await makeCloudInitGuest(folder.path, `http://${World.name}:${mirrorPort}`);
    const keyFile = join(folder.path, "anna.pub");
    await writeFile(keyFile, `${key}\n`);
    const boot = ["--kernel", kernel, "--initrd", initrd, "--cmdline", cmdline, "--engine", "qemu", "--memory", "768M", "--cpus", "2", "--net", "nat"];
    await terrarium.text("create", "cloud", ...boot, "--user", "anna", "--ssh-key", keyFile, "--hostname", "behind-glass", "--package", "glass-greeting");
    await terrarium.text("start", "cloud");
    host = await connectHost(terrarium.home);
    if (host === undefined) throw new Error("the host service has gone");
    const shell = new SerialShell(await host.openStream({ stream: "serial", id: (await terrarium.machine("cloud")).id }));
    onTestFailed(() => console.error(shell.text));
    await shell.until(cloudGuestReady);

    expect(await shell.run("cloud-init status")).toContain("status: done");
    expect(await shell.run("dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\\n' | sort")).toBe("glass-greeting 3.4 installed\nglass-words 1.2 installed");
    expect(await shell.run("glass-greeting hello")).toBe("hello: seen through glass");
    expect(await shell.run("cat /var/lib/glass-greeting")).toBe("configured: seen through glass");
    expect(mirror.sent).toEqual(expect.arrayContaining(["/glass-greeting_3.4_all.deb", "/glass-words_1.2_all.deb"]));
    expect(mirror.sent).not.toContain("/glass-unwanted_9_all.deb");
    // What the seed says beside it.
    expect(await shell.run("hostname; id -un anna; cat /home/anna/.ssh/authorized_keys")).toContain(key);
    expect(await shell.run("hostname")).toBe("behind-glass");
  });
});
