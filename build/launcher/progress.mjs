// What the set-up tells the person who waits for it: one line a step, the seconds while a long one runs.

/** A step that cannot be done, with what the person can do about it. Printed without a stack. */
export class SetupError extends Error {
  /**
   * @param {string} message what failed, on what
   * @param {string} remedy what to do; may have several lines
   */
  constructor(message, remedy) {
    super(message);
    this.name = "SetupError";
    this.remedy = remedy;
  }
}

/** @param {{ stream?: NodeJS.WriteStream, verbose?: boolean }} options */
export function createProgress({ stream = process.stdout, verbose = false } = {}) {
  const line = (text) => stream.write(`${text}\n`);
  return {
    verbose,
    stream,
    say: (text) => line(`  ${text}`),
    detail: (text) => {
      if (verbose) line(`  ${text}`);
    },
    warn: (text) => line(indent(`! ${text}`)),

    /**
     * Announces `label`, runs `work`, and says how long it took. On a terminal the seconds tick in place; elsewhere a
     * line every 15 seconds shows that it goes on.
     */
    async during(label, work) {
      const began = performance.now();
      const seconds = () => ((performance.now() - began) / 1000).toFixed(1);
      const live = stream.isTTY === true;
      if (live) stream.write(`  ${label} ...`);
      else line(`  ${label} ...`);
      const timer = setInterval(
        () => {
          if (live) stream.write(`\r  ${label} ... ${Math.floor((performance.now() - began) / 1000)} s `);
          else line(`  ${label} ... still at it after ${Math.round((performance.now() - began) / 1000)} s`);
        },
        live ? 1000 : 15_000,
      );
      try {
        const result = await work();
        line(`${live ? "\r" : ""}  ${label}: done in ${seconds()} s      `);
        return result;
      } catch (error) {
        line(`${live ? "\r" : ""}  ${label}: failed after ${seconds()} s      `);
        throw error;
      } finally {
        clearInterval(timer);
      }
    },
  };
}

/** Prints an error as a person should read it, and returns the exit code. */
export function reportFailure(error, stream = process.stderr) {
  if (error instanceof SetupError) {
    stream.write(`\n${indent(`✗ ${error.message}`)}\n`);
    if (error.remedy) stream.write(`${indent(`  ${error.remedy}`)}\n\n`);
  } else {
    // Not one of the failures we know: the whole of it is needed to find out.
    stream.write(`\n${error instanceof Error ? error.stack : String(error)}\n`);
  }
  return 1;
}

function indent(text) {
  return text
    .split("\n")
    .map((part, index) => (index === 0 ? `  ${part}` : `    ${part.trimStart()}`))
    .join("\n");
}
