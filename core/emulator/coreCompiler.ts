import { cannotSerialize, compileCore } from "./compiledCore";

/** `coreCompiler WASM PATH`: makes the optimized core once; machine processes find it at PATH. */
async function main(): Promise<void> {
  const [wire, path] = process.argv.slice(2);
  if (wire === undefined || path === undefined) throw new Error("usage: coreCompiler WASM PATH");
  if (!(await compileCore(wire, path))) process.exitCode = cannotSerialize;
}

main().catch((error: unknown) => {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
});
