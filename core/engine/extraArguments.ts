/** Options of QEMU that a machine's extra arguments may not have, and why, with what to use instead where there is something. */
const refused: Readonly<Record<string, string>> = {
  ...each(["net", "netdev", "nic"], "every cable of a machine goes through Terrarium's networks: add an adapter instead"),
  ...each(["readconfig", "writeconfig"], "a file of settings could hold what is refused here"),
  ...each(["daemonize", "pidfile", "chroot", "runas", "run-with"], "Terrarium must know the process that it has started"),
  ...each(["incoming", "loadvm", "preconfig"], "Terrarium alone loads states: save the machine instead"),
  ...each(["sandbox"], "the sandbox is what keeps a guest that breaks out of QEMU from your files"),
  ...each(["snapshot"], "the guest would lose all that it writes when the machine ends: use a copy of the machine instead"),
  ...each(["vnc", "display", "nographic", "curses", "sdl", "spice"], "the screen belongs to Terrarium: look at it in the machine's console"),
  ...each(["S"], "Terrarium alone says when the guest begins to run: start the machine and pause it instead"),
  ...each(["action", "no-reboot", "no-shutdown", "watchdog-action"], "Terrarium deals with the guest's power-off, reset and panic"),
  ...each(["m"], "set the machine's memory instead"),
  ...each(["smp"], "set the machine's processors and their topology instead"),
  ...each(["cpu"], "set the machine's CPU model instead"),
  ...each(["accel", "enable-kvm", "no-kvm"], "Terrarium takes the best accelerator that works on this computer"),
  ...each(["localtime"], "set the machine's clock instead"),
  ...each(["name"], "set the machine's name instead"),
  ...each(["uuid"], "the machine's id is its own"),
  ...each(["kernel", "initrd", "append"], "set what the machine boots instead"),
  ...each(["pflash"], "set the machine's firmware instead"),
  ...each(["h", "help", "version", "audio-help", "dump-vmstate"], "QEMU prints something and ends, and no machine starts"),
};

/**
 * Options that QEMU puts together with the ones it was given before: what no setting is there for may be said
 * (`-machine smm=off`, `-rtc driftfix=slew`), what would say something else than a setting may not.
 */
const refusedValues: Readonly<Record<string, { readonly value: RegExp; readonly because: string }>> = {
  ...each(["machine", "M"], { value: /^[^=]*(?:,|$)|(?:^|,)(?:type|accel|firmware|pflash[01]|kernel|initrd|append|memory[\w.]*|smp[\w.]*)=/, because: "set the machine's chipset, machine version and other settings instead" }),
  ...each(["rtc"], { value: /(?:^|,)base=(?:utc|localtime)(?:,|$)/, because: "set the machine's clock instead" }),
};

function each<T>(options: readonly string[], because: T): Record<string, T> {
  return Object.fromEntries(options.map((option) => [option, because]));
}

/** The first of a machine's extra arguments that would take from Terrarium what it answers for, and why; undefined when all may be. */
export function refusedArgument(extraArguments: readonly string[]): { readonly argument: string; readonly because: string } | undefined {
  for (const [index, argument] of extraArguments.entries()) {
    // QEMU takes options with one dash or two.
    const option = /^--?([A-Za-z][A-Za-z-]*)$/.exec(argument)?.[1];
    const because = option === undefined || !Object.hasOwn(refused, option) ? undefined : refused[option];
    if (because !== undefined) return { argument, because };
    const part = option === undefined || !Object.hasOwn(refusedValues, option) ? undefined : refusedValues[option];
    if (part?.value.test(extraArguments[index + 1] ?? "")) return { argument, because: part.because };
    if (asksForHelp(argument)) return { argument: [...extraArguments.slice(Math.max(0, index - 1), index), argument].join(" "), because: "QEMU prints a list and ends, and no machine starts" };
  }
  return undefined;
}

/** Whether QEMU answers a value with what there is to choose from, and ends: `help`, `virtio-net-pci,help`, `driver=help`; not what only says the word to the guest, like `string=help`. */
export function asksForHelp(value: string): boolean {
  return /(?:^|,)(?:(?:driver|type|qom-type|model|backend|accel)=)?(?:help|\?)(?:,|$)/.test(value);
}
