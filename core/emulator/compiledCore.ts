import { execFile } from "node:child_process";
import { access, constants, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInThisContext } from "node:vm";
import { writeFileAtomically } from "../storage/atomicFile";
import { isMissing } from "../storage/fileErrors";
import { checksum } from "./stateFormat";
import { compileWasm, type WasmModule } from "./wasm";

/**
 * v86's core (`v86.wasm`), optimized, and what V8 is told about the code that v86 makes while the guest runs.
 *
 * The core runs as long as the machine does, so it is worth V8's optimizing compiler, which needs one to two seconds for
 * it. The result is kept in a file and loaded in a few milliseconds the next time. The thousands of small modules that v86
 * makes of the guest's code live briefly: optimizing them costs two to three times the guest's own processor time, so they
 * get the baseline compiler only.
 *
 * V8 keeps its serializer of modules for its own tests: it ends the process when it does not like what it is given. So the
 * file is made by a process of its own (`coreCompiler`).
 */
// One flag may imply another, so the order counts.
const optimizing = ["--no-liftoff-only", "--no-liftoff", "--no-wasm-tier-up", "--no-wasm-dynamic-tiering", "--no-wasm-lazy-compilation", "--allow-natives-syntax"];
const baseline = ["--no-allow-natives-syntax", "--wasm-lazy-compilation", "--liftoff", "--liftoff-only", "--no-wasm-tier-up"];

export interface CoreFiles {
  /** `v86.wasm`. */
  readonly wire: string;
  /** The script that makes the optimized core, see `coreCompiler`. */
  readonly compiler: string;
  /** Where optimized cores are kept for the next machine. */
  readonly cache: string | undefined;
}

export interface CoreListener {
  didLog(level: "info" | "warn", message: string): void;
}

/**
 * The core, optimized if that is possible here: without a folder to keep it in, or with a V8 that cannot serialize it,
 * machines are slower. From then on V8 compiles with its baseline compiler.
 */
export async function loadCore(files: CoreFiles, listener: CoreListener): Promise<WasmModule> {
  const wire = await readFile(files.wire);
  const core = files.cache === undefined ? undefined : await optimizedCore(wire, join(files.cache, nameFor(wire)), files, listener);
  setFlags(baseline);
  return core ?? compileWasm(wire);
}

/** Compiles the core with the optimizing compiler and writes it to `path`. For a process of its own. False when V8 does not take back what it has serialized. */
export async function compileCore(wireFile: string, path: string): Promise<boolean> {
  const wire = await readFile(wireFile);
  setFlags(optimizing);
  const code = serialize(await compileWasm(wire));
  if (!deserialize(code, wire)) return false;
  await writeKept(path, code);
  return true;
}

async function optimizedCore(wire: Buffer, path: string, files: CoreFiles, listener: CoreListener): Promise<WasmModule | undefined> {
  const kept = await readKept(path, listener);
  if (kept?.length === 0) return undefined; // This V8 has been tried.
  const core = kept && deserialize(kept, wire);
  if (core) return core;
  if (kept) listener.didLog("info", `V8 refuses the compiled core in ${path}, which another processor may have made; it is made again`);
  if (!(await make(path, files, listener))) return undefined;
  const made = await readKept(path, listener);
  return made && deserialize(made, wire);
}

/** Whether the core could be made. */
async function make(path: string, files: CoreFiles, listener: CoreListener): Promise<boolean> {
  const began = performance.now();
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await access(dirname(path), constants.W_OK);
    await removeOthers(path);
    const failure = await runCompiler(files, path);
    if (failure === undefined) {
      listener.didLog("info", `compiled v86's core in ${Math.round(performance.now() - began)} ms, for this machine and those to come`);
      return true;
    }
    listener.didLog("warn", `v86's core stays unoptimized: ${failure.reason}`);
    if (failure.isFinal) await writeKept(path, new Uint8Array(0));
  } catch (error) {
    listener.didLog("warn", `v86's core stays unoptimized, because its code could not be kept in ${path}: ${(error as Error).message}`);
  }
  return false;
}

/** A V8 that does not like what it is given ends its process in one of these ways, and will do so again. */
const crashes: readonly unknown[] = ["SIGABRT", "SIGTRAP", "SIGILL", "SIGSEGV"];
/** Exit code of the compiler for a V8 that cannot serialize what it has compiled. */
export const cannotSerialize = 3;
/** Longer than a busy computer takes; whoever waits for a machine gets an unoptimized one then. Milliseconds. */
const compilerLimit = 30_000;

async function runCompiler(files: CoreFiles, path: string): Promise<{ reason: string; isFinal: boolean } | undefined> {
  try {
    await promisify(execFile)(process.execPath, [files.compiler, files.wire, path], { timeout: compilerLimit, killSignal: "SIGKILL" });
    return undefined;
  } catch (error) {
    const { code, signal, message } = error as Error & { code?: unknown; signal?: unknown };
    return { reason: `V8 ${process.versions.v8} did not compile it (${String(signal ?? code)}): ${message}`, isFinal: code === cannotSerialize || crashes.includes(signal) };
  }
}

/** Cores of other versions of v86, for the same V8. */
async function removeOthers(path: string): Promise<void> {
  const own = basename(path);
  const family = familyOf();
  for (const name of await readdir(dirname(path))) if (name.startsWith(family) && name !== own) await rm(join(dirname(path), name), { force: true });
}

/** What V8's code depends on; V8 checks its version, its flags and what the processor can do once more. */
function nameFor(wire: Buffer): string {
  const flags = checksum(Buffer.from(optimizing.join(" ")));
  return `${familyOf()}${checksum(wire).toString(16)}-${flags.toString(16)}`;
}

function familyOf(): string {
  return `core-${process.versions.v8}-${process.platform}-${process.arch}-`;
}

const sumBytes = 8;

/** The code in the file, if it is there and whole: V8 itself does not look for damage. */
async function readKept(path: string, listener: CoreListener): Promise<Buffer | undefined> {
  try {
    const file = await readFile(path);
    const code = file.subarray(sumBytes);
    if (file.length >= sumBytes && sumOf(code).equals(file.subarray(0, sumBytes))) return code;
    listener.didLog("warn", `the compiled core in ${path} is damaged and is made again`);
  } catch (error) {
    if (!isMissing(error)) listener.didLog("warn", `the compiled core in ${path} cannot be read and is made again: ${(error as Error).message}`);
  }
  return undefined;
}

async function writeKept(path: string, code: Uint8Array): Promise<void> {
  // Code that machines execute: nobody else may change it.
  await writeFileAtomically(path, Buffer.concat([sumOf(code), code]), { mode: 0o600 });
}

/** Length and checksum; eight bytes, so that what follows is aligned. */
function sumOf(code: Uint8Array): Buffer {
  const sum = Buffer.alloc(sumBytes);
  sum.writeUInt32LE(code.length, 0);
  sum.writeUInt32LE(checksum(code), 4);
  return sum;
}

function setFlags(flags: readonly string[]): void {
  for (const flag of flags) setFlagsFromString(flag);
}

/** V8's natives are names that parse only while a flag allows them. */
function native<Arguments extends unknown[], Answer>(parameters: string, call: string): (...args: Arguments) => Answer {
  return runInThisContext(`(${parameters}) => ${call}`) as (...args: Arguments) => Answer;
}

function serialize(core: WasmModule): Uint8Array {
  return new Uint8Array(native<[WasmModule], ArrayBuffer>("core", "%SerializeWasmModule(core)")(core));
}

/** Undefined when V8 refuses it: another version made it, or one with other flags, or for another processor. */
function deserialize(code: Uint8Array, wire: Uint8Array): WasmModule | undefined {
  setFlags(optimizing);
  const call = native<[ArrayBuffer, Uint8Array], WasmModule | undefined>("code, wire", "%DeserializeWasmModule(code, wire)");
  return call(new Uint8Array(code).buffer as ArrayBuffer, new Uint8Array(wire));
}
