/** Options of QEMU that a machine's extra arguments may not have, and why. */
const refused: Readonly<Record<string, string>> = {
  ...each(["net", "netdev", "nic"], "every cable of a machine goes through Terrarium's networks: add an adapter instead"),
  ...each(["readconfig", "writeconfig"], "a file of settings could hold what is refused here"),
  ...each(["daemonize", "pidfile", "chroot", "runas", "run-with"], "Terrarium must know the process that it has started"),
  ...each(["incoming", "loadvm", "preconfig"], "Terrarium alone loads states: save the machine instead"),
  ...each(["sandbox"], "the sandbox is what keeps a guest that breaks out of QEMU from your files"),
};

function each(options: readonly string[], because: string): Record<string, string> {
  return Object.fromEntries(options.map((option) => [option, because]));
}

/** The first of a machine's extra arguments that would take from Terrarium what it answers for, and why; undefined when all may be. */
export function refusedArgument(extraArguments: readonly string[]): { readonly argument: string; readonly because: string } | undefined {
  for (const argument of extraArguments) {
    // QEMU takes options with one dash or two.
    const option = /^--?([a-z][a-z-]*)$/.exec(argument)?.[1];
    const because = option === undefined || !Object.hasOwn(refused, option) ? undefined : refused[option];
    if (because !== undefined) return { argument, because };
  }
  return undefined;
}
