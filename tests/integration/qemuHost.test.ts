import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { createLog } from "../../core/base/log";
import { probeAccelerators, type Accelerator } from "../../core/engine/accelerator";
import { parseListing } from "../../core/engine/probeImage";
import { doctorChecks, findQemu, type QemuLookup, type QemuLookupOptions } from "../../core/engine/qemuHost";
import { runBriefly } from "../../core/engine/briefRun";
import listing from "../../assets/probe/longMode.json";
import { useTemporaryFolder } from "../support/temporaryFolder";

const folder = useTemporaryFolder();
const lines: string[] = [];
const log = createLog((line) => lines.push(line));
const real = execFileSync("/bin/sh", ["-c", "command -v qemu-system-x86_64"], { encoding: "utf8" }).trim();

afterEach(() => {
  vi.unstubAllEnvs();
});

/** A program of the shell that stands where QEMU is expected. */
async function fake(script: string): Promise<string> {
  const path = join(folder.path, "fake-qemu");
  await writeFile(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return path;
}

function find(options: Partial<QemuLookupOptions> & { qemu?: string } = {}): Promise<QemuLookup> {
  const { qemu, ...rest } = options;
  return findQemu({ env: { PATH: process.env.PATH, HOME: folder.path, ...(qemu === undefined ? {} : { TERRARIUM_QEMU: qemu }) }, platform: process.platform, cacheFile: join(folder.path, "qemu.json"), log, ...rest });
}

async function found(options: Parameters<typeof find>[0] = {}): Promise<Extract<QemuLookup, { ok: true }>["value"]> {
  const lookup = await find(options);
  if (!lookup.ok) throw new Error(lookup.error.message);
  return lookup.value;
}

describe("this computer's QEMU", () => {
  it("is found with all that machines need to know of it", async () => {
    const host = await found();
    expect(host.binary).toBe(real);
    const [, text] = /version (.*)/.exec(execFileSync(real, ["--version"], { encoding: "utf8" })) ?? [];
    expect(host.version.text).toBe(text);
    const machines = execFileSync(real, ["-machine", "help"], { encoding: "utf8" });
    expect(machines).toContain(`(alias of ${host.machineTypes.q35})`);
    expect(machines).toContain(`(alias of ${host.machineTypes.pc})`);
    // The list for people leaves out what cannot be started by hand.
    const listed = machines.split("\n").slice(1).map((line) => line.split(" ")[0] ?? "").filter((name) => name !== "" && name !== "q35" && name !== "pc");
    expect([...host.allMachineTypes]).toEqual(expect.arrayContaining(listed));
    expect(execFileSync(host.img ?? "", ["--version"], { encoding: "utf8" })).toMatch(/^qemu-img version/);
    expect(host.maxCpus).toBeGreaterThanOrEqual(128);
    expect(host.sandbox).toBe(true);
    expect(host.biosFirmware).toBe(true);
  });

  it("has UEFI firmware that begins where a processor does, and variables of its own", async () => {
    const { firmware } = await found();
    if (firmware === undefined) throw new Error("there is no UEFI firmware");
    expect(firmware).toMatchObject({ codeFormat: "raw", variablesFormat: "raw", secureBoot: false });
    // EFI firmware volumes carry their signature at byte 40.
    const volume = (await readFile(firmware.variables)).toString("latin1", 40, 44);
    expect(volume).toBe("_FVH");
    expect((await stat(firmware.code)).size).toBeGreaterThan(1024 * 1024);
  });

  it("uses the first accelerator that has run 64-bit code, and says why a better one does not", async () => {
    const { accelerators, accelerator } = await found();
    expect(accelerators.map(({ id }) => id)).toEqual(["kvm", "tcg"]);
    expect(accelerators.find(({ id }) => id === "tcg")).toMatchObject({ works: true, fast: false, cpuModel: "max", reason: expect.stringContaining("software") as string });
    expect(accelerator).toBe(accelerators.find(({ works }) => works));
    for (const each of accelerators.filter(({ works }) => !works)) {
      expect(each.reason).toMatch(existsSync("/dev/kvm") ? /^\/dev\/kvm opens, but KVM does not work on this computer: |permission|does not open/ : /There is no \/dev\/kvm/);
      expect(each.remedy).toBeDefined();
      expect(accelerator.reason).toContain(each.reason);
    }
  });

  it("is printed by doctor, each lack with its remedy", async () => {
    const lookup = await find();
    if (!lookup.ok) throw new Error(lookup.error.message);
    const checks = doctorChecks(lookup);
    expect(checks.map(({ id }) => id)).toEqual(["qemu", "qemu-img", "accelerator-kvm", "accelerator-tcg", "firmware-bios", "firmware-uefi", "qemu-sandbox"]);
    expect(checks.filter(({ status, remedy }) => status !== "ok" && remedy === undefined)).toEqual([]);
    const { firmware, accelerators } = lookup.value;
    const kvm: Accelerator = { id: "kvm", label: "KVM", argument: "kvm", cpuModel: "host", works: true, fast: true, unverified: true };
    const poor = doctorChecks({ ok: true, value: { ...lookup.value, img: undefined, firmware: undefined, biosFirmware: false, sandbox: false, accelerators: [kvm, ...accelerators.slice(1)], accelerator: kvm } }, "linux");
    expect(poor.filter(({ status }) => status === "warning").map(({ id }) => id)).toEqual(["qemu-img", "firmware-bios", "firmware-uefi", "qemu-sandbox"]);
    expect(poor.find(({ id }) => id === "accelerator-kvm")?.detail).toMatch(/Machines use it.*Unverified/);
    expect(checks.find(({ id }) => id === "firmware-uefi")?.detail).toBe(firmware?.code);
  });

  it("is known without starting a process as long as nothing has changed", async () => {
    const starts = join(folder.path, "starts");
    const qemu = await fake(`echo x >> ${starts}; exec ${real} "$@"`);
    const first = await found({ qemu });
    // Why an accelerator does not work may be said with the seconds it was given.
    const same = { version: first.version, machineTypes: first.machineTypes, accelerator: { id: first.accelerator.id } };
    const count = (await readFile(starts, "utf8")).length;
    expect(count).toBeGreaterThan(4);
    expect(await found({ qemu })).toEqual(first);
    expect((await readFile(starts, "utf8")).length).toBe(count);

    expect(await found({ qemu, fresh: true })).toMatchObject(same);
    const again = (await readFile(starts, "utf8")).length;
    expect(again).toBe(2 * count);
    await writeFile(join(folder.path, "qemu.json"), "{");
    lines.length = 0;
    expect(await found({ qemu })).toMatchObject(same);
    expect(lines).toContainEqual(expect.stringContaining("damaged"));
    expect((await readFile(starts, "utf8")).length).toBe(3 * count);
    await fake(`echo x >> ${starts}; # another version\nexec ${real} "$@"`);
    expect(await found({ qemu })).toMatchObject(same);
    expect((await readFile(starts, "utf8")).length).toBe(4 * count);
  });
});

describe("the probe", () => {
  const run = async (image: Uint8Array): Promise<number | undefined> => {
    const file = join(folder.path, "image");
    await writeFile(file, image);
    const { code } = await runBriefly(real, ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-M", "q35", "-accel", "tcg", "-m", "16", "-bios", file, "-device", "isa-debug-exit,iobase=0xf4,iosize=4"], { env: process.env, limitMs: 20_000 });
    return code;
  };
  const assembled = (change: (lines: string[]) => string[]): Uint8Array => {
    const image = parseListing(change(listing.listing));
    if (!image.ok) throw new Error(image.error);
    return image.value;
  };

  it("ends with 43 when the code has come to the right result, and with something else when it has not, or was not in long mode", async () => {
    expect(await run(assembled((lines) => lines))).toBe(43);
    const with_ = (instruction: string, bytes: string): Uint8Array =>
      assembled((lines) => lines.map((line) => (line.includes(`| ${instruction} `) ? line.replace(/\| [0-9a-f ]+\|/, `| ${bytes} |`) : line)));
    expect(await run(with_("mov ecx, 1000000", "b9 41 42 0f 00"))).toBe(45);
    // Without EFER.LME the far jump leads into protected mode, where the same bytes mean something else.
    expect(await run(with_("or eax, 0x100", "66 0d 00 00 00 00"))).not.toBe(43);
  });

  it("takes KVM for what it does, not for what it says", async () => {
    const tried = async (script: string): Promise<Accelerator | undefined> => {
      const binary = await fake(`case "$*" in *"-accel kvm"*) ${script};; esac; exec ${real} "$@"`);
      const probed = await probeAccelerators({ binary, env: process.env, platform: "linux", builtIn: ["tcg", "kvm"], kvm: { device: "opens", virtualization: "vmx", nested: false } });
      expect(probed.sandbox).toBe(true);
      expect(probed.accelerators[1]).toMatchObject({ id: "tcg", works: true });
      return probed.accelerators[0];
    };
    // What a host with a good KVM answers.
    expect(await tried(`exec ${real} $(echo "$*" | sed "s/-accel kvm/-accel tcg/; s/-cpu host/-cpu max/")`)).toMatchObject({ id: "kvm", works: true, fast: true, unverified: true, cpuModel: "host" });
    expect(await tried("exec sleep 1000")).toMatchObject({ works: false, reason: expect.stringMatching(/^\/dev\/kvm opens, but KVM does not work on this computer: 64-bit test code did not get through within [\d.]+ seconds?\.$/) as string, remedy: expect.any(String) as string });
    expect(await tried('echo "qemu-system-x86_64: error: failed to set MSR 0x48b to 0x1582e00000000" >&2; kill -ABRT $$')).toMatchObject({ works: false, reason: expect.stringContaining("QEMU died of SIGABRT and said: error: failed to set MSR") as string });
    expect(await tried("exit 45")).toMatchObject({ works: false, reason: expect.stringContaining("wrong result") as string });
    expect(await tried("exit 0")).toMatchObject({ works: false });
  });

  it("tells a QEMU whose sandbox does not work from one that does not run", async () => {
    const probe = async (script: string): ReturnType<typeof probeAccelerators> =>
      probeAccelerators({ binary: await fake(`case "$*" in *-sandbox*) echo no seccomp >&2; exit 1;; esac; ${script}`), env: process.env, platform: "linux", builtIn: ["tcg"], kvm: { device: "ENOENT", virtualization: undefined, nested: false } });
    expect(await probe(`exec ${real} "$@"`)).toMatchObject({ sandbox: false, accelerators: [{ id: "kvm", works: false, reason: "This QEMU was built without KVM for x86-64 guests." }, { id: "tcg", works: true }] });
    expect(await probe("echo cannot map memory >&2; exit 1")).toMatchObject({ sandbox: false, accelerators: [{ works: false }, { id: "tcg", works: false, reason: "TCG does not work: QEMU ended with code 1 and said: cannot map memory." }] });
  });

  it("leaves no file behind", async () => {
    const temporary = join(folder.path, "temporary");
    await mkdir(temporary);
    vi.stubEnv("TMPDIR", temporary);
    const seen = join(folder.path, "seen");
    await probeAccelerators({ binary: await fake(`ls ${temporary} > ${seen}; exit 1`), env: process.env, platform: "linux", builtIn: ["tcg"], kvm: { device: "ENOENT", virtualization: undefined, nested: false } });
    expect(await readFile(seen, "utf8")).toMatch(/^terrarium-probe-/);
    expect(await readdir(temporary)).toEqual([]);
  });
});

describe("a program that is not the QEMU that is needed", () => {
  const refused = async (script: string, limitMs = 20_000): Promise<unknown> => {
    const lookup = await find({ qemu: await fake(script), limitMs });
    expect(existsSync(join(folder.path, "qemu.json"))).toBe(false);
    expect(doctorChecks(lookup)).toEqual([{ id: "qemu", title: "QEMU", status: "warning", detail: lookup.ok ? "" : lookup.error.message, remedy: expect.any(String) as string }]);
    return lookup.ok ? undefined : lookup.error;
  };
  const message = (text: string | RegExp): unknown => expect.stringMatching(text);

  it("is too old", async () => {
    expect(await refused(`case "$1" in --version) echo "QEMU emulator version 6.2.0 (Debian 1:6.2+dfsg-2)";; *) exit 1;; esac`)).toMatchObject({ code: "unavailable", message: message(/QEMU 6\.2\.0 .* is too old: machines need QEMU 7\.2 or later/), remedy: message(/newer QEMU/) });
  });

  it("says something else, ends with an error, or dies", async () => {
    expect(await refused("echo Hello, I am not what you think.")).toMatchObject({ code: "engine-failed", message: message(/is not QEMU\. It said: Hello, I am not what you think\.$/) });
    expect(await refused("echo error while loading shared libraries: libx.so >&2; exit 127")).toMatchObject({ code: "engine-failed", message: message(/does not run: it ended with code 127\. It said: error while loading/) });
    expect(await refused("kill -SEGV $$")).toMatchObject({ code: "engine-failed", message: message(/died of SIGSEGV/) });
    expect(await refused("head -c 100000 /dev/urandom")).toMatchObject({ code: "engine-failed", message: message(/is not QEMU/) });
    await writeFile(join(folder.path, "text"), "#!/nothing/there\n", { mode: 0o755 });
    expect(await find({ qemu: join(folder.path, "text") })).toMatchObject({ ok: false, error: { code: "engine-failed", message: message(/could not be started/) } });
  });

  it("prints without end, or hangs", async () => {
    expect(await refused("exec yes QEMU emulator version 7.2.0")).toMatchObject({ code: "engine-failed", message: message(/prints without end/) });
    expect(await refused("exec sleep 1000", 300)).toMatchObject({ code: "timeout", message: message(/did not answer within 0\.3 seconds/), remedy: message(/--version/) });
    expect(await refused('[ "$1" = --version ] && echo QEMU emulator version 7.2.0 && exit; exec sleep 1000', 300)).toMatchObject({ code: "timeout" });
  });

  it("knows no PC, or cannot run code", async () => {
    const says = (more: string): string => `case "$*" in --version) echo "QEMU emulator version 8.2.0";; "-accel help") printf 'Accelerators supported in QEMU binary:\\ntcg\\n';; "-L help") echo /nothing;; ${more} *) echo broken >&2; exit 1;; esac`;
    expect(await refused(says(`*qmp*) echo '{"return": [{"name": "virt-8.2", "alias": "virt", "cpu-max": 512}]}';;`))).toMatchObject({ code: "unavailable", message: message(/is not QEMU for x86-64 PCs/) });
    const pcs = '{"return": [{"name": "pc-q35-8.2", "alias": "q35", "cpu-max": 1024}, {"name": "pc-i440fx-8.2", "alias": "pc", "cpu-max": 255}]}';
    expect(await refused(says(`*qmp*) echo '${pcs}';;`))).toMatchObject({ code: "engine-failed", message: message(/cannot run machines.*TCG does not work: QEMU ended with code 1 and said: broken/) });
  });

  it("is not there at all", async () => {
    await mkdir(join(folder.path, "empty"));
    expect(await find({ env: { PATH: join(folder.path, "empty") } })).toMatchObject({ ok: false, error: { code: "unavailable", message: message(/not installed/), remedy: message(/[Ii]nstall/) } });
  });

  it("is not waited for after a cancellation", async () => {
    const abort = new AbortController();
    const qemu = await fake("exec sleep 1000");
    const looking = find({ qemu, signal: abort.signal });
    abort.abort();
    expect(await looking).toMatchObject({ ok: false, error: { code: "cancelled" } });
    expect(await find({ qemu, signal: AbortSignal.abort() })).toMatchObject({ ok: false, error: { code: "cancelled" } });
  });
});
