import { spawnSync } from "node:child_process";

export interface Outcome {
  readonly code: number;
  readonly output: string;
}

function run(program: string, args: readonly string[]): Outcome {
  const { status, signal, error, stdout, stderr } = spawnSync(program, args, { encoding: "utf8" });
  if (error) throw error;
  return { code: status ?? (signal ? 128 : -1), output: `${stdout}${stderr}` };
}

/** Runs `qemu-img` and returns what it says. @throws when it fails */
export function qemuImg(...args: string[]): string {
  const { code, output } = run("qemu-img", args);
  if (code !== 0) throw new Error(`qemu-img ${args.join(" ")}: ${code}: ${output}`);
  return output;
}

/** Exit code 0: sound, 2: corrupt, 3: leaked clusters only. */
export function qemuCheck(path: string): Outcome {
  return run("qemu-img", ["check", "-f", "qcow2", path]);
}

/** Runs commands of `qemu-io` on a qcow2 image, without its being flushed at the end if the last one is `abort`. @throws when one fails */
export function qemuIo(path: string, ...commands: string[]): void {
  const { code, output } = run("qemu-io", ["-f", "qcow2", ...commands.flatMap((command) => ["-c", command]), path]);
  // It ends with 0 after most failures.
  if ((code !== 0 && commands.at(-1) !== "abort") || /failed|error|invalid/i.test(output)) throw new Error(`qemu-io ${commands.join("; ")}: ${code}: ${output}`);
}
