import { resolveRuntime } from "../machine/access";
import { exitCode, run } from "./run";

/** The `terrarium` command. */
async function main(): Promise<void> {
  // Whoever reads our output has had enough, as `head` does: that ends the command and is no failure to report.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(exitCode.failed);
    throw error;
  });
  const code = await run(process.argv.slice(2), process, resolveRuntime(__dirname, process), process.env);
  // Ended here, because an open standard input would keep it alive; what was written is out first.
  process.stdout.write("", () => process.exit(code));
}

void main();
