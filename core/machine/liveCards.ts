import type { Clock } from "../base/clock";
import { TerrariumError } from "../contract/errors";
import type { MachineConfig } from "../contract/model";
import { adapterSlots, type Engine, type LiveAdapters, type MonitorCommand } from "../engine/engine";
import { QmpError } from "../engine/qmp";
import type { Run } from "./run";

/*
 * Devices that come to a machine which runs, and go from it: how a guest is made to let go of one, and the network cards
 * behind its adapters.
 */

/** What is asked of the machine. */
export interface LiveMachine {
  readonly clock: Clock;
  /** Of its adapters, while its process is there. */
  readonly sockets: readonly string[] | undefined;
  /** The current run. @throws TerrariumError when the machine does not run. */
  live(): Run;
}

/** How long a guest may take to let go of a device, milliseconds. */
const unpluggingMs = 30_000;

/**
 * Asks the guest to let go of a device and waits until it has: it has a say in this, a mounted disk is busy.
 * @throws TerrariumError `timeout`
 */
export async function letGo(machine: LiveMachine, steps: { readonly ask: MonitorCommand; readonly device: string }, what: string, remedy: string): Promise<void> {
  const run = machine.live();
  const { qmp } = run.session;
  const late = new AbortController();
  const timer = machine.clock.schedule(unpluggingMs, () => late.abort());
  const gone = qmp.waitFor((event) => event.event === "DEVICE_DELETED" && event.data["device"] === steps.device, late.signal);
  gone.catch((error: unknown) => void error); // Awaited below.
  try {
    await run.tell([steps.ask]);
    await gone;
  } catch (error) {
    // A guest that was asked before may have let go of it since.
    const wasGone = error instanceof QmpError && error.qmpClass === "DeviceNotFound";
    if (!wasGone && !late.signal.aborted) throw error;
    if (!wasGone) throw new TerrariumError("timeout", `The guest did not let go of ${what} within ${unpluggingMs / 1000} seconds.`, remedy, { cause: error });
  } finally {
    timer.dispose();
    late.abort();
  }
}

/** The network cards of a machine that runs. */
export interface LiveCards {
  /** The address that the adapter which comes next must have; undefined when any will do. */
  nextMac(config: MachineConfig): Promise<string | undefined>;
  /** A card for the adapter in `slot` of `config`. Its link is down. */
  plug(config: MachineConfig, slot: number): Promise<void>;
  /** No card, or none with a link, in `slot`. */
  unplug(slot: number): Promise<void>;
  /** Makes the cards those of `config`, after a host service that was killed between a card and its configuration. Their links are to be set anew. */
  match(config: MachineConfig): Promise<void>;
}

export function liveCards(machine: LiveMachine, engine: Engine): LiveCards {
  const { adapters } = engine.live;
  if (!adapters) throw new TerrariumError("unsupported", `${engine.info.label} cannot add or remove an adapter while the machine runs.`, "Shut the machine down first.");
  return adapters.kind === "plugged" ? pluggedCards(machine, adapters) : builtInCards(machine, adapters);
}

function pluggedCards(machine: LiveMachine, adapters: Extract<LiveAdapters, { kind: "plugged" }>): LiveCards {
  const slots = async (): Promise<number[]> => {
    const { ask } = adapters.plugged;
    return adapters.plugged.slots(await machine.live().session.qmp.execute(ask.execute, ask.arguments));
  };
  const cards: LiveCards = {
    nextMac: async () => undefined,
    async plug(config, slot) {
      const adapter = config.adapters[slot];
      const socket = machine.sockets?.[slot];
      if (!adapter || socket === undefined) throw new TerrariumError("unsupported", `A machine has at most ${adapterSlots} adapters.`);
      // A host service that was killed while it plugged a card has left it there, and nobody knows of it.
      if ((await slots()).includes(slot)) await cards.unplug(slot);
      const run = machine.live();
      const { clear, commands, undo } = adapters.plug(adapter, slot, config, socket);
      for (const step of clear) await run.tell([step]).catch(unlessRefused);
      const [first, ...rest] = commands;
      if (first) await run.tell([first]);
      try {
        await run.tell(rest);
      } catch (error) {
        await run.tell(undo);
        throw error;
      }
    },
    async unplug(slot) {
      const steps = adapters.unplug(slot);
      await letGo(machine, steps, `adapter ${slot}`, "Take the interface down in the guest and try again, or shut the machine down first.");
      await machine.live().tell(steps.then);
    },
    async match(config) {
      const there = await slots();
      for (let slot = adapterSlots - 1; slot >= config.adapters.length; slot--) if (there.includes(slot)) await cards.unplug(slot);
      for (const slot of config.adapters.keys()) if (!there.includes(slot)) await cards.plug(config, slot);
    },
  };
  return cards;
}

/** What need not be there cannot be taken away: that is no failure. */
function unlessRefused(error: unknown): void {
  if (!(error instanceof QmpError)) throw error;
}

function builtInCards(machine: LiveMachine, adapters: Extract<LiveAdapters, { kind: "built-in" }>): LiveCards {
  const setLink = (slot: number, up: boolean): Promise<void> => machine.live().tell([{ execute: "set_link", arguments: { name: `net${slot}`, up } }]);
  const macOf = async (slot: number): Promise<string> => {
    const { ask, macs } = adapters.cards;
    const mac = macs(await machine.live().session.qmp.execute(ask.execute, ask.arguments))[slot];
    if (!mac) throw new TerrariumError("unsupported", `The machine has no card for an adapter ${slot} while it runs.`, "Shut it down first.");
    return mac;
  };
  return {
    nextMac: (config) => macOf(config.adapters.length),
    async plug(config, slot) {
      const mac = await macOf(slot);
      if (config.adapters[slot]?.mac !== mac) throw new TerrariumError("unsupported", `While the machine runs, its adapter ${slot} can have no other address than ${mac}, by which the guest knows the card already.`, "Leave the choice of the address to Terrarium (terrarium adapter add NAME NETWORK), or shut the machine down first.");
      await setLink(slot, false);
    },
    unplug: (slot) => setLink(slot, false),
    async match(config) {
      for (let slot = config.adapters.length; slot < adapterSlots; slot++) await setLink(slot, false);
    },
  };
}

/** Addresses of the cards that wait in slots without an adapter, in their order. */
export function spareMacs({ live: { adapters } }: Engine, config: MachineConfig): string[] {
  if (adapters?.kind !== "built-in") return [];
  return Array.from({ length: adapterSlots - config.adapters.length }, (_, place) => adapters.spareMac(config, config.adapters.length + place));
}
