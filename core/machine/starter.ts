import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { TerrariumError, type ErrorData } from "../contract/errors";
import type { StarterInfo } from "../contract/model";
import { errno, isMissing } from "../storage/fileErrors";

/** What a machine needs of the guest directory. */
export type StarterFile = "kernel-fast.bin" | "vmlinuz" | "initrd.cpio" | "bios.bin" | "vgabios.bin";
const required: readonly StarterFile[] = ["kernel-fast.bin", "initrd.cpio", "bios.bin", "vgabios.bin"];

const Manifest = z.object({
  build: z.string().min(1),
  kernelVersion: z.string(),
  cmdline: z.string(),
  files: z.record(z.string(), z.object({ sha256: z.string(), size: z.number().int().nonnegative() })),
});
type Manifest = z.infer<typeof Manifest>;

/** The starter guest and the firmware, as they lie on this host. */
export interface Starter {
  readonly info: StarterInfo;
  /** Present when `info.ready`. */
  readonly guest?: {
    readonly build: string;
    readonly cmdline: string;
    readonly kernel: string;
    /** The kernel as Debian ships it, where it is kept. */
    readonly stockKernel?: string;
    readonly initrd: string;
    readonly initrdBytes: number;
    readonly bios: string;
    readonly vgabios: string;
    /** Pre-booted states that came with the guest. */
    readonly statesDir: string;
  };
}

const remedy = "Build it by starting Terrarium with npm start on a Debian or Ubuntu system (it needs apt-get to download Debian packages), or copy a folder .cache/starter made on another computer here.";

function problem(message: string): Starter {
  const data: ErrorData = { code: "unavailable", message, remedy };
  return { info: { ready: false, problem: data } };
}

/** Looks at the guest directory. Never throws: what is wrong with it is in `info.problem`. */
export async function readStarter(guestDir: string): Promise<Starter> {
  const path = join(guestDir, "guest.json");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (failure) {
    if (isMissing(failure)) return problem("The starter guest has not been built on this computer.");
    return problem(`The starter guest cannot be read: ${path} (${errno(failure) ?? String(failure)}).`);
  }
  const manifest = parseManifest(text);
  if (manifest === undefined) return problem(`The starter guest is damaged: ${path} does not describe one.`);
  for (const name of required) {
    const fault = await checkFile(guestDir, name, manifest);
    if (fault !== undefined) return problem(`The starter guest is damaged: ${fault}.`);
  }
  return {
    info: { ready: true, build: manifest.build, kernelVersion: manifest.kernelVersion },
    guest: {
      build: manifest.build,
      cmdline: manifest.cmdline,
      kernel: join(guestDir, "kernel-fast.bin"),
      ...(manifest.files["vmlinuz"] ? { stockKernel: join(guestDir, "vmlinuz") } : {}),
      initrd: join(guestDir, "initrd.cpio"),
      initrdBytes: manifest.files["initrd.cpio"]?.size ?? 0,
      bios: join(guestDir, "bios.bin"),
      vgabios: join(guestDir, "vgabios.bin"),
      statesDir: join(guestDir, "states"),
    },
  };
}

/** The guest, or why there is none. @throws TerrariumError `unavailable`. */
export function requireStarter(starter: Starter): NonNullable<Starter["guest"]> {
  if (starter.guest) return starter.guest;
  const why = starter.info.problem;
  throw new TerrariumError(why?.code ?? "unavailable", why?.message ?? "The starter guest is missing.", why?.remedy);
}

function parseManifest(text: string): Manifest | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined; // Not JSON: not a manifest.
  }
  const parsed = Manifest.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}

/** What is wrong with a file of the guest. Sizes only: hashing 30 MB at every look would cost more than it tells. */
async function checkFile(guestDir: string, name: StarterFile, manifest: Manifest): Promise<string | undefined> {
  const expected = manifest.files[name];
  if (expected === undefined) return `guest.json does not mention ${name}`;
  try {
    const { size } = await stat(join(guestDir, name));
    return size === expected.size ? undefined : `${name} has ${size} bytes instead of ${expected.size}`;
  } catch (failure) {
    return isMissing(failure) ? `${name} is missing` : `${name} cannot be read (${errno(failure) ?? String(failure)})`;
  }
}
