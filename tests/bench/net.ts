// `npm run bench -- net [PART...]`: how fast the fabric carries frames, beside others on the same machine. Parts: switch,
// pair, nat, jumbo, connects, idle, delay. Guests are network namespaces, whose cards are TAPs; servers are on the loopback
// of a host that is a namespace too. Needs root.

import type { FabricMemory } from "./pieces/netFabricProcess";
import { measureSwitching } from "./pieces/netSwitch";
import { passing } from "./pieces/processes";
import { makeHost, ourGuest, ourPair, pastaGuest, slirpGuest, talk, vdePair, type NatGuest, type OurNatGuest, type SwitchedPair } from "./pieces/netGuests";
import { Rounds, startServer, stream } from "./pieces/netStreams";
import { figure, median, rounded, runBench, say, type Figure, type Goal, type Part } from "./pieces/report";
import type { Namespace } from "../support/namespaces";

const rounds = 5;
const [fast, portable, slirp, pasta, vde] = ["ours (epoll)", "ours (portable)", "slirp4netns", "pasta", "vde_switch"];

/** Makes the guests, measures, and takes everything away again. */
async function among<G extends { dispose(): Promise<void> }, T>(makers: readonly ((host: Namespace) => Promise<G>)[], measure: (host: Namespace, guests: readonly G[]) => Promise<T>): Promise<T> {
  const { host, dispose } = await makeHost();
  const guests: G[] = [];
  try {
    for (const make of makers) guests.push(await make(host));
    return await measure(host, guests);
  } finally {
    for (const guest of guests) await guest.dispose();
    await dispose();
  }
}

/** Streams up and down by everybody in turns. */
async function streams(host: Namespace, guests: readonly NatGuest[]): Promise<{ up: Rounds; down: Rounds }> {
  await startServer(host, "127.0.0.1");
  const measured = { up: new Rounds(), down: new Rounds() };
  for (let round = 0; round < rounds; round++) {
    for (const way of ["up", "down"] as const) for (const { name, guest, gateway, pid } of guests) measured[way].add(name, await stream(guest, gateway, way === "down", [pid]));
    say(`round ${round + 1}: ${guests.map(({ name }) => `${name} ${rounded(measured.up.median(name))}/${rounded(measured.down.median(name))}`).join(", ")} Gbit/s`);
  }
  return measured;
}

async function natFigures(mtu: number, loops: readonly ("epoll" | "portable")[], goals: Record<"up" | "down", readonly [string, string, Goal?][]>): Promise<Figure[]> {
  const measured = await among<NatGuest, { up: Rounds; down: Rounds }>(
    [...loops.map((loop) => (host: Namespace) => ourGuest(host, loop, mtu)), (host) => slirpGuest(host, mtu), (host) => pastaGuest(host, mtu)],
    streams,
  );
  return (["up", "down"] as const).flatMap((way) =>
    goals[way].map(([one, other, goal], index) =>
      figure(`NAT, one TCP stream ${way}, MTU ${mtu}: ${one} against ${other}`, measured[way].ratio(one, other), "", goal, index === 0 ? measured[way].detail : undefined),
    ),
  );
}

const nat: Part = {
  name: "nat",
  measure: () =>
    natFigures(1500, ["epoll", "portable"], {
      up: [[fast, slirp, { atLeast: 3 }], [fast, pasta, { atLeast: 1 }], [portable, slirp, { atLeast: 2 }]],
      down: [[fast, slirp, { atLeast: 1.5 }], [fast, pasta, { atLeast: 1.5 }], [portable, slirp, { atLeast: 1.2 }]],
    }),
};

const jumbo: Part = {
  name: "jumbo",
  measure: () =>
    natFigures(65_520, ["epoll"], {
      up: [[fast, slirp, { atLeast: 2 }], [fast, pasta]],
      down: [[fast, slirp, { atLeast: 2 }], [fast, pasta, { atLeast: 1 }]],
    }),
};

/** Machine to machine. */
const pair: Part = {
  name: "pair",
  measure: () =>
    among<SwitchedPair, Figure[]>([(host) => ourPair(host, "epoll"), (host) => ourPair(host, "portable"), vdePair], async (_host, pairs) => {
      const measured = new Rounds();
      for (const { other, otherAddress } of pairs) await startServer(other, otherAddress);
      for (let round = 0; round < rounds; round++) for (const { name, one, otherAddress, pids } of pairs) measured.add(name, await stream(one, otherAddress, false, pids));
      return [
        figure(`switch, one TCP stream from namespace to namespace: ${fast} against ${vde}`, measured.ratio(fast, vde), "", { atLeast: 3 }, measured.detail),
        figure(`the same: ${portable} against ${vde}`, measured.ratio(portable, vde), ""),
      ];
    }),
};

const connectionsEach = 3000;

const connects: Part = {
  name: "connects",
  measure: () =>
    among<NatGuest, Figure[]>([(host) => ourGuest(host, "epoll", 1500), (host) => ourGuest(host, "portable", 1500), (host) => slirpGuest(host, 1500), (host) => pastaGuest(host, 1500)], async (host, guests) => {
      const measured = new Map(guests.map(({ name }) => [name, { perSecond: [] as number[], failed: 0 }]));
      for (let round = 0; round < rounds; round++) {
        for (const { name, guest, gateway } of guests) {
          const server = talk(host, "netTrafficProcess", "greet", String(connectionsEach));
          const { port } = await server.says<{ port: number }>();
          const client = talk(guest, "netTrafficProcess", "connects", gateway, String(port), String(connectionsEach));
          const { seconds, failed } = await client.says<{ seconds: number; failed: number }>();
          await client.close();
          const figures = measured.get(name);
          figures?.perSecond.push((connectionsEach - failed) / seconds);
          if (figures) figures.failed += failed;
          // One that still waits for those that failed hears nothing.
          if (failed > 0) server.kill();
          await server.close();
        }
      }
      const of = (name: string): number[] => measured.get(name)?.perSecond ?? [];
      const ratio = (one: string, other: string): number => median(of(one).map((value, index) => value / (of(other)[index] ?? NaN)));
      const detail = Object.fromEntries([...measured].map(([name, { perSecond, failed }]) => [name, { perSecond: Math.round(median(perSecond)), rounds: perSecond.map(rounded), failed }]));
      return [
        figure(`NAT, TCP connections made and ended one after another: ${fast} against ${slirp}`, ratio(fast, slirp), "", { atLeast: 1 }, detail),
        figure(`the same: ${portable} against ${slirp}`, ratio(portable, slirp), ""),
        figure(`of these, those of ${fast} that failed`, measured.get(fast)?.failed ?? NaN, "", { atMost: 0 }),
      ];
    }),
};

const idleConnections = 1000;

/** Waits until what is left of earlier connections is gone, and says how much memory there is then. */
async function atRest({ memory }: OurNatGuest): Promise<FabricMemory> {
  for (let tries = 0; ; tries++) {
    const now = await memory();
    if (now.flows === 0) return now;
    if (tries > 300) throw new Error(`connections have not gone away within 30 s: ${JSON.stringify(now.states)}`);
    await passing(100);
  }
}

/** Many connections at once, and what one takes that does nothing. */
const idle: Part = {
  name: "idle",
  measure: () =>
    among<OurNatGuest, Figure[]>([(host) => ourGuest(host, "epoll", 1500), (host) => ourGuest(host, "portable", 1500)], async (host, guests) => {
      const figures: Figure[] = [];
      for (const ours of guests) {
        const { name, guest, gateway, memory } = ours;
        const server = talk(host, "netTrafficProcess", "serve");
        const { port } = await server.says<{ port: number }>();
        const hold = (): ReturnType<typeof talk> => talk(guest, "netTrafficProcess", "hold", gateway, String(port), String(idleConnections));
        // Once before, so that code that is compiled and pools that are filled at first are not counted.
        const first = hold();
        await first.says();
        await first.close();
        const before = await atRest(ours);
        const client = hold();
        const opened = await client.says<{ echoed: number; failures: string[] }>();
        const between = await memory();
        client.tell("again");
        const again = await client.says<{ echoed: number; failures: string[] }>();
        await client.close();
        await server.close();
        const each = (what: "resident" | "used"): number => (between[what] - before[what]) / between.flows / 1024;
        figures.push(
          figure(`${name}: of ${idleConnections} connections at once, those with an error`, idleConnections - Math.min(opened.echoed, again.echoed), "", { atMost: 0 }, { opened, again, flows: between.flows }),
          figure(`${name}: memory of an idle connection besides its socket, on the heap and in buffers`, each("used"), "KiB", { atMost: 16 }, { before, between }),
          figure(`${name}: resident memory of an idle connection`, each("resident"), "KiB"),
        );
      }
      return figures;
    }),
};

/**
 * A line that is 1 ms longer. A kernel without netem cannot make one, so the fabric's port holds the guest's frames back;
 * `ping` says how late they really are.
 */
const delay: Part = {
  name: "delay",
  measure: () =>
    among<NatGuest, Figure[]>([async (host) => ourGuest(host, "epoll", 1500), async (host) => ({ ...(await ourGuest(host, "epoll", 1500, 1)), name: "delayed" })], async (host, guests) => {
      const { up, down } = await streams(host, guests);
      const away = guests[1];
      const ping = await away?.guest.run("ping", "-c", "20", "-i", "0.02", "-q", away.gateway);
      const roundTrip = /= [\d.]+\/([\d.]+)\//.exec(ping?.stdout ?? "")?.[1] ?? "unknown";
      return [
        figure("NAT, one TCP stream up with 1 ms of delay against without", up.ratio("delayed", fast), "", { atLeast: 0.25 }, { ...up.detail, roundTripMs: roundTrip }),
        figure("NAT, one TCP stream down with 1 ms of delay against without", down.ratio("delayed", fast), "", { atLeast: 0.25 }, down.detail),
      ];
    }),
};

const switching: Part = { name: "switch", measure: () => Promise.resolve(measureSwitching()) };

void runBench("net", [switching, pair, nat, jumbo, connects, idle, delay]);
