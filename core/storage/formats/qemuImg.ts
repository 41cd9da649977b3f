import { spawn } from "node:child_process";
import { open, rm, stat } from "node:fs/promises";
import { setPriority } from "node:os";
import { dirname, isAbsolute } from "node:path";
import { systemClock, type Clock } from "../../base/clock";
import { TerrariumError } from "../../contract/errors";
import { syncFolder } from "../atomicFile";
import { errno, fileError } from "../fileErrors";
import { qemuFormats, readImageHeader, type ImageHeader } from "./imageHeader";

/*
 * Images of other programs, by `qemu-img`. The images are hostile:
 * - the format is always said, never guessed: a raw disk may begin with anything its guest wrote;
 * - what leads to other files is refused before qemu-img sees it (imageHeader.ts), and qemu-img is told not to follow;
 * - qemu-img runs with a limit on memory, the quick questions also on time;
 * - what it prints is capped and checked before it is used.
 */

export interface ConvertOptions {
  /** The program. */
  readonly qemuImg: string;
  /** Absolute paths. There must be no file at `to`. */
  readonly from: string;
  /** As `fileFormats` names it: `raw`, `qcow2`, `vmdk`, `vdi`, `vhdx`, `vhd`. */
  readonly fromFormat: string;
  readonly to: string;
  readonly toFormat: "raw" | "qcow2";
  readonly signal: AbortSignal;
  /** Fraction done, 0 to 1. */
  readonly progress: (fraction: number) => void;
}

export interface ImageInfo {
  readonly virtualBytes: number;
  /** What its file takes of the host's disk. */
  readonly allocatedBytes: number;
  /** As the image names it; it was not opened. */
  readonly backingFile?: string;
  readonly encrypted: boolean;
  /** Marked as damaged. */
  readonly corrupt: boolean;
  /** Kept inside the image by QEMU. */
  readonly snapshots: readonly ImageSnapshot[];
}

export interface ImageSnapshot {
  readonly id: string;
  readonly name: string;
  /** Of the memory in it; 0 without. */
  readonly stateBytes: number;
}

/** Address space; an image can ask for tables as large as it likes. */
const infoMemoryKiB = 1024 * 1024;
const convertMemoryKiB = 2 * 1024 * 1024;
const infoSeconds = 30;

/** Drivers that can check an image, and how qemu-img(1) ends when it found faults, or only space that nothing uses. */
const checkable: readonly string[] = ["qcow2", "vmdk", "vdi", "vhdx"];
const foundCorruptions = 2;
const foundLeaks = 3;

/** What may be kept of what it prints; an image may have many snapshots, and each can be named by its maker. */
const mostOutputBytes = 1024 * 1024;
const mostErrorBytes = 16 * 1024;
const mostSnapshots = 1000;
const mostNameLength = 1024;

/**
 * Copies an image into a new file of another format. The new file is whole and durable when this resolves.
 * @throws TerrariumError; no file is left at `to` then, except one that was there before.
 */
export async function convertImage(options: ConvertOptions): Promise<void> {
  const { qemuImg, from, fromFormat, to, toFormat, signal, progress } = options;
  const doing = `${from} could not be converted`;
  const driver = qemuDriver(from, fromFormat);
  requireAbsolute(to);
  stopIf(signal, doing);
  const header = await headerOf(from, fromFormat);
  refuse(from, header);
  // The name is taken before qemu-img runs, so that what is removed after a failure is surely ours.
  await reserve(to, doing);
  try {
    // JSON instead of a name: nothing in the path is taken for a protocol, and no file the image names is opened.
    const source = `json:${JSON.stringify({ driver, ...(driver === "qcow2" || driver === "vmdk" ? { backing: null } : {}), file: { driver: "file", filename: from } })}`;
    const limits = { program: qemuImg, memoryKiB: convertMemoryKiB, signal };
    if (checkable.includes(driver)) {
      // Where a file was cut off, reading gives zeroes without a word; only a check of its tables tells.
      const checked = await run({ ...limits, args: ["check", "-q", source], onOutput: () => undefined });
      stopIf(signal, doing);
      if (checked.code === foundCorruptions) throw new TerrariumError("image-unusable", `${doing}: the image is damaged, perhaps cut off.${quote(checked.words.slice(0, 200))}`, "Try another copy of it; if it was downloaded, download it again.");
      if (checked.code !== 0 && checked.code !== foundLeaks) throw explain(checked, doing, from, to);
    }
    const end = await run({ ...limits, args: ["convert", "-p", "-O", toFormat, source, to], onOutput: progressReader(progress) });
    stopIf(signal, doing);
    if (end.code !== 0) throw explain(end, doing, from, to);
    // qemu-img leaves the new file to the system's cache.
    const file = await open(to, "r+");
    try {
      await file.sync();
    } finally {
      await file.close();
    }
    await syncFolder(dirname(to));
    progress(1);
  } catch (failure) {
    await rm(to, { force: true });
    throw fileError(failure, doing, to);
  }
}

/**
 * What `qemu-img` knows of an image, without opening any other file.
 * @param limits for tests
 * @throws TerrariumError
 */
export async function imageInfo(qemuImg: string, file: string, format: string, limits: { seconds?: number; clock?: Clock } = {}): Promise<ImageInfo> {
  const doing = `${file} could not be examined`;
  const driver = qemuDriver(file, format);
  const header = await headerOf(file, format);
  // A backing file is only named by `info`; any other file it would open.
  if (header.leadsTo !== undefined && !header.leadsTo.startsWith("builds on")) refuse(file, header);
  const pieces: Buffer[] = [];
  let length = 0;
  const { seconds = infoSeconds, clock = systemClock() } = limits;
  const timeout = new AbortController();
  const timer = clock.schedule(seconds * 1000, () => timeout.abort());
  try {
    const end = await run({
      program: qemuImg,
      args: ["info", "--output=json", "-f", driver, file],
      memoryKiB: infoMemoryKiB,
      cpuSeconds: infoSeconds,
      signal: timeout.signal,
      onOutput: (chunk) => {
        length += chunk.length;
        if (length <= mostOutputBytes) pieces.push(chunk);
        else timeout.abort();
      },
    });
    if (length > mostOutputBytes) throw new TerrariumError("image-unusable", `${doing}: what it says of itself has no end.`, "Do not use this image.");
    if (timeout.signal.aborted) throw new TerrariumError("timeout", `${doing}: it took qemu-img longer than ${seconds} seconds.`, "The image is damaged, or the drive it is on does not answer. Try a copy of it.");
    if (end.code !== 0) throw explain(end, doing, file);
    return parseInfo(Buffer.concat(pieces).toString("utf8"), doing);
  } finally {
    timer.dispose();
  }
}

/** The driver's name in QEMU. @throws TerrariumError for formats that are not asked of it, and paths that are none. */
function qemuDriver(file: string, format: string): string {
  requireAbsolute(file);
  const driver = Object.hasOwn(qemuFormats, format) ? qemuFormats[format] : undefined;
  if (driver === undefined) throw new TerrariumError("unsupported", `${file} is in the format "${format}", which cannot be converted.`, `Convert it with the program it came from into one of ${Object.keys(qemuFormats).join(", ")}.`);
  return driver;
}

function requireAbsolute(path: string): void {
  if (!isAbsolute(path) || path.includes("\0")) throw new TerrariumError("invalid-input", `"${path}" is not the full path of a file.`, "Give the whole path, from the root on.");
}

async function headerOf(path: string, format: string): Promise<ImageHeader> {
  try {
    if (!(await stat(path)).isFile()) throw new TerrariumError("image-unusable", `${path} is not a file.`, "Choose a disk image.");
    const file = await open(path, "r");
    try {
      const { size } = await file.stat();
      return await readImageHeader(format, async (offset, length) => {
        const bytes = Buffer.alloc(length);
        const { bytesRead } = await file.read(bytes, 0, length, offset);
        return bytes.subarray(0, bytesRead);
      }, size);
    } finally {
      await file.close();
    }
  } catch (failure) {
    throw fileError(failure, `${path} could not be read`, path, "read");
  }
}

function refuse(path: string, { leadsTo, encrypted }: ImageHeader): void {
  if (leadsTo !== undefined) throw new TerrariumError("image-unusable", `${path} is an image that ${leadsTo}. No file that an image names is opened, because such an image can be made to read any file of this computer.`, `If you trust it, make it whole first: qemu-img convert -O qcow2 "${path}" whole.qcow2`);
  if (encrypted) throw new TerrariumError("image-unusable", `${path} is an encrypted image.`, "Decrypt it with the program that encrypted it.");
}

async function reserve(path: string, doing: string): Promise<void> {
  try {
    await (await open(path, "wx", 0o600)).close();
  } catch (failure) {
    if (errno(failure) === "EEXIST") throw new TerrariumError("io", `${doing}: there is a file ${path} already.`, "Choose another name, or move that file away.", { cause: failure });
    throw fileError(failure, doing, path);
  }
}

function stopIf(signal: AbortSignal, doing: string): void {
  if (signal.aborted) throw new TerrariumError("cancelled", `${doing}: it was cancelled.`, undefined, { cause: signal.reason });
}

/** Reads `    (12.34/100%)` as `qemu-img -p` prints it, in whatever pieces it comes; only rising fractions are told. */
export function progressReader(progress: (fraction: number) => void): (chunk: Buffer) => void {
  let rest = "";
  let last = -1;
  return (chunk) => {
    const text = rest + chunk.toString("latin1");
    // The longest piece of a figure that can still be going on.
    rest = text.slice(-20);
    for (const [, percent] of text.matchAll(/\((\d{1,3}\.\d\d)\/100%\)/g)) {
      const fraction = Math.min(Number(percent) / 100, 1);
      if (fraction <= last) continue;
      last = fraction;
      progress(fraction);
    }
  };
}

interface Run {
  readonly program: string;
  readonly args: readonly string[];
  readonly memoryKiB: number;
  readonly cpuSeconds?: number;
  readonly signal: AbortSignal;
  readonly onOutput: (chunk: Buffer) => void;
}

interface RunEnd {
  readonly code: number | undefined;
  readonly killedBy: string | undefined;
  /** Its messages, one line, fit to be shown. */
  readonly words: string;
}

/** What it needs to run at all, and nothing that may be private; its messages in English, because they are read here. */
function ownEnvironment(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const passedOn = ["PATH", "LD_LIBRARY_PATH", "SystemRoot"].flatMap((name) => (environment[name] === undefined ? [] : [[name, environment[name]] as const]));
  return { ...Object.fromEntries(passedOn), LC_ALL: "C" };
}

const nicer = 10;

/** Resolves when the process has ended; an abort ends it at once. @throws TerrariumError when it cannot be started. */
async function run({ program, args, memoryKiB, cpuSeconds, signal, onOutput }: Run): Promise<RunEnd> {
  const [command, given] = limited(program, args, memoryKiB, cpuSeconds);
  const child = spawn(command, given, { cwd: "/", stdio: ["ignore", "pipe", "pipe"], env: ownEnvironment(process.env), windowsHide: true });
  const kill = (): void => void child.kill("SIGKILL");
  signal.addEventListener("abort", kill);
  if (signal.aborted) kill();
  let errors = "";
  child.stdout.on("data", onOutput);
  child.stderr.on("data", (chunk: Buffer) => {
    if (errors.length < mostErrorBytes) errors += chunk.toString("utf8");
  });
  try {
    return await new Promise<RunEnd>((resolve, reject) => {
      child.once("spawn", () => {
        if (child.pid !== undefined) yieldToOthers(child.pid);
      });
      child.once("error", (error) => reject(unavailable(program, error.message, error)));
      // `close` and not `exit`: what it printed last is still on its way at `exit`.
      child.once("close", (code, killedBy) => {
        // The shell that sets the limits ends so when it cannot start the program.
        if (command !== program && (code === 127 || code === 126)) reject(unavailable(program, code === 127 ? "there is no such program" : "it may not be run"));
        else resolve({ code: code ?? undefined, killedBy: killedBy ?? undefined, words: shown(errors) });
      });
    });
  } finally {
    signal.removeEventListener("abort", kill);
  }
}

/** Limits are set by a shell in front of it, which it then replaces. Elsewhere than on Linux there is none to be had. */
function limited(program: string, args: readonly string[], memoryKiB: number, cpuSeconds: number | undefined): [string, string[]] {
  if (process.platform !== "linux") return [program, [...args]];
  const limits = [`ulimit -v ${memoryKiB}`, "ulimit -c 0", ...(cpuSeconds === undefined ? [] : [`ulimit -t ${cpuSeconds}`])];
  return ["/bin/sh", ["-c", `${limits.join(" && ")} && exec "$@"`, "sh", program, ...args]];
}

function yieldToOthers(pid: number): void {
  try {
    setPriority(pid, nicer);
  } catch {
    // It has ended already, or the system has other rules for priorities: neither keeps it from its work.
  }
}

function unavailable(program: string, words: string, cause?: unknown): TerrariumError {
  return new TerrariumError("unavailable", `${program} could not be started: ${words}.`, "Install QEMU's image tools (on Debian and Ubuntu the package qemu-utils), then try again.", { cause });
}

/** QEMU's words in one line, without the program's name in front, and files called by their names. */
function shown(errors: string): string {
  const lines = errors.split("\n").map((line) =>
    line
      .replace(/[\p{Cc}\p{Cf}]/gu, " ")
      .replace(/^\S*qemu-img: /, "")
      .replace(/json:\{.*?"filename":\s*"((?:[^"\\]|\\.)*)"\}*/, "$1")
      .trim(),
  );
  const text = lines.filter((line) => line !== "").join(" ");
  return text.length > 600 ? `${text.slice(0, 600)}…` : text;
}

function quote(words: string): string {
  return words === "" ? "" : ` QEMU says: ${words}`;
}

/** QEMU's words in ours; its own are kept behind them. */
function explain({ code, killedBy, words }: RunEnd, doing: string, from: string, to?: string): TerrariumError {
  const error = (errorCode: ConstructorParameters<typeof TerrariumError>[0], because: string, remedy: string): TerrariumError => new TerrariumError(errorCode, `${doing}: ${because}.${quote(words)}`, remedy);
  if (/No space left on device|Disk quota exceeded/.test(words)) return error("disk-full", "the disk is full", `Free some space on the file system that holds ${to ?? from}, then try again.`);
  if (/File too large/.test(words)) return error("insufficient-resources", "the file system does not allow a file of that size", "Choose another file system for it.");
  if (/Failed to get .*lock/.test(words)) return error("locked", "another program has it open", "Stop the machine that uses it, then try again.");
  if (/Read-only file system/.test(words)) return error("read-only", "the file system is mounted read-only", `Make the file system that holds ${to ?? from} writable.`);
  if (/backing file/i.test(words)) return error("image-unusable", "it builds on another file", "Make it whole first, where that file is.");
  if (/Permission denied/.test(words)) return error("io", "it may not be read or written", `Give yourself permission for ${from}${to === undefined ? "" : ` and ${to}`}.`);
  if (/Unknown (?:driver|protocol|file format)|(?:Driver|Format) .* (?:not found|not supported)/i.test(words)) return error("unsupported", "this qemu-img does not know the format", "Install a complete QEMU, or convert the image with the program it came from.");
  if (/Cannot allocate memory|failed to allocate|out of memory/i.test(words) || ["SIGXCPU", "SIGKILL", "SIGABRT", "SIGTRAP", "SIGSEGV"].includes(killedBy ?? "")) return error("image-unusable", "reading it takes more memory or time than an image ever should", "The image is damaged or made to do harm. Try another copy of it.");
  if (/Input\/output error/.test(words)) return error("io", "the disk reported an error", "Check the drives; one of them may be failing.");
  if (/corrupt|invalid|not in .* format|does not|unsupported|truncated|too (?:large|small|big)|out of range|unexpected|bad/i.test(words)) return error("image-unusable", "the image is damaged or of another format", "Try another copy of it; if it was downloaded, download it again.");
  return error("io", killedBy === undefined ? `qemu-img ended with code ${code ?? "?"}` : `qemu-img was ended by ${killedBy}`, "Try again; if it fails again, try another copy of the image.");
}

/** QAPI, block-core.json: ImageInfo. Only what is needed is read, and everything that is has its type checked. */
function parseInfo(text: string, doing: string): ImageInfo {
  const unclear = (what: string): TerrariumError => new TerrariumError("engine-failed", `${doing}: qemu-img said something that is not understood (${what}).`, "Install a current QEMU.");
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch (failure) {
    throw new TerrariumError("engine-failed", `${doing}: qemu-img said something that is not understood.`, "Install a current QEMU.", { cause: failure });
  }
  const virtualBytes = field(root, "virtual-size");
  if (typeof virtualBytes !== "number" || !Number.isSafeInteger(virtualBytes) || virtualBytes < 0) throw unclear("virtual-size");
  const allocatedBytes = field(root, "actual-size") ?? 0;
  if (typeof allocatedBytes !== "number" || !Number.isSafeInteger(allocatedBytes) || allocatedBytes < 0) throw unclear("actual-size");
  const backingFile = field(root, "backing-filename");
  if (backingFile !== undefined && typeof backingFile !== "string") throw unclear("backing-filename");
  const snapshots = field(root, "snapshots") ?? [];
  if (!Array.isArray(snapshots) || snapshots.length > mostSnapshots) throw unclear("snapshots");
  return {
    virtualBytes,
    allocatedBytes,
    ...(backingFile === undefined ? {} : { backingFile: backingFile.slice(0, mostNameLength) }),
    encrypted: field(root, "encrypted") === true,
    corrupt: field(field(field(root, "format-specific"), "data"), "corrupt") === true,
    snapshots: snapshots.map((snapshot: unknown) => {
      const [id, name, stateBytes] = [field(snapshot, "id"), field(snapshot, "name"), field(snapshot, "vm-state-size")];
      if (typeof id !== "string" || typeof name !== "string" || typeof stateBytes !== "number") throw unclear("snapshots");
      return { id: id.slice(0, mostNameLength), name: name.slice(0, mostNameLength), stateBytes };
    }),
  };
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
}

export interface ResizeOptions {
  readonly qemuImg: string;
  readonly file: string;
  readonly format: string;
  readonly bytes: number;
  readonly signal: AbortSignal;
}

/** Makes the disk in an image of our own longer. What it had stays; nothing is written to the rest. */
export async function resizeImage({ qemuImg, file, format, bytes, signal }: ResizeOptions): Promise<void> {
  const doing = `${file} could not be made longer`;
  const driver = qemuDriver(file, format);
  if ((await imageInfo(qemuImg, file, format)).virtualBytes >= bytes) return;
  stopIf(signal, doing);
  const end = await run({ program: qemuImg, args: ["resize", "-q", "-f", driver, file, String(bytes)], memoryKiB: infoMemoryKiB, signal, onOutput: () => undefined });
  stopIf(signal, doing);
  if (end.code !== 0) throw explain(end, doing, file);
  try {
    const resized = await open(file, "r+");
    try {
      await resized.sync();
    } finally {
      await resized.close();
    }
  } catch (failure) {
    throw fileError(failure, doing, file);
  }
}
