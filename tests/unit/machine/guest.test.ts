import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { ManualClock } from "../../../core/base/clock";
import { silentLog } from "../../../core/base/log";
import { AgentClient, AgentError } from "../../../core/machine/agentClient";
import { addressesByAdapter, Guest } from "../../../core/machine/guest";
import { duplexPair } from "../../support/duplexPair";

interface Request {
  execute: string;
  arguments?: Record<string, unknown>;
}

/** An agent client with the guest's side of the line, which answers what `answer` returns. */
class Line {
  readonly clock = new ManualClock();
  readonly requests: Request[] = [];
  readonly client: AgentClient;
  readonly guest: Duplex;
  readonly socket: Duplex;
  private waiting: (() => void)[] = [];

  constructor(answer: (request: Request, line: Line) => unknown) {
    const [socket, guest] = duplexPair();
    this.guest = guest;
    this.socket = socket;
    this.client = new AgentClient(socket as Socket, this.clock);
    guest.on("data", (data: Buffer) => {
      for (const text of data.toString("latin1").replaceAll("\u00ff", "").split("\n")) {
        if (text === "") continue;
        const request = JSON.parse(text) as Request;
        this.requests.push(request);
        const result = answer(request, this);
        if (result !== undefined) this.say(request.execute === "guest-sync-delimited", result);
      }
      for (const wake of this.waiting.splice(0)) wake();
    });
  }

  say(marked: boolean, message: unknown): void {
    this.guest.write(Buffer.concat([Buffer.from(marked ? [0xff] : []), Buffer.from(`${JSON.stringify(message)}\n`)]));
  }

  /** Resolves when so many requests have come. */
  async requested(count: number): Promise<void> {
    while (this.requests.length < count) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }
}

const polite = ({ execute, arguments: args }: Request): unknown => ({ return: execute === "guest-sync-delimited" ? args?.["id"] : { done: execute } });

describe("the guest agent's client", () => {
  const lines: Line[] = [];
  afterEach(() => {
    for (const line of lines.splice(0)) line.client.dispose();
  });
  const open = (answer: (request: Request, line: Line) => unknown): Line => {
    const line = new Line(answer);
    lines.push(line);
    return line;
  };

  it("begins with a sync, once, and asks one thing after another", async () => {
    const line = open(polite);
    expect(await Promise.all([line.client.execute("a"), line.client.execute("b", { x: 1 })])).toEqual([{ done: "a" }, { done: "b" }]);
    expect(line.requests.map((request) => request.execute)).toEqual(["guest-sync-delimited", "a", "b"]);
  });

  it("forgets half an answer to someone else, noise, and answers that are not its own", async () => {
    const line = open((request, { guest }) => {
      if (request.execute === "guest-sync-delimited") guest.write('{"return": {"half": [[ kernel: something happened\n{"return": 1}\n[3]\n');
      return polite(request);
    });
    expect(await line.client.execute("a")).toEqual({ done: "a" });
  });

  it("throws the agent's refusal", async () => {
    const line = open((request) => (request.execute === "guest-sync-delimited" ? polite(request) : { error: { class: "GenericError", desc: "no such file" } }));
    await expect(line.client.execute("guest-exec")).rejects.toBeInstanceOf(AgentError);
    await expect(line.client.execute("guest-exec")).rejects.toThrow("no such file");
  });

  it("takes the late answer to an earlier attempt, and later ones not for the answer to a command", async () => {
    const line = open((request) => (request.execute === "guest-sync-delimited" ? undefined : { return: request.execute }));
    const first = expect(line.client.ready(1000)).rejects.toMatchObject({ code: "agent-silent" });
    await line.requested(1);
    line.clock.advance(1000);
    await first;
    const second = line.client.ready(1000);
    await line.requested(2);
    line.say(true, { return: line.requests[0]?.arguments?.["id"] });
    await second;
    const answer = line.client.execute("a");
    line.say(true, { return: line.requests[1]?.arguments?.["id"] });
    expect(await answer).toBe("a");
  });

  it("starts the conversation again after a command that was not answered in time", async () => {
    const line = open((request) => (request.execute === "lost" ? undefined : polite(request)));
    const lost = expect(line.client.execute("lost", undefined, 500)).rejects.toMatchObject({ code: "agent-silent" });
    await line.requested(2);
    line.clock.advance(500);
    await lost;
    line.say(false, { return: "the lost answer" });
    expect(await line.client.execute("a")).toEqual({ done: "a" });
    expect(line.requests.map((request) => request.execute)).toEqual(["guest-sync-delimited", "lost", "guest-sync-delimited", "a"]);
  });

  it("asks again when the first attempts of a conversation are lost", async () => {
    let lost = 2;
    const line = open((request) => (request.execute === "guest-sync-delimited" && lost-- > 0 ? undefined : polite(request)));
    let outcome: unknown;
    line.client.execute("a", undefined, 5000).then((answer) => (outcome = answer)).catch((error: unknown) => (outcome = error));
    while (outcome === undefined) {
      line.clock.advance(500);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(outcome).toEqual({ done: "a" });
    expect(line.clock.monotonic()).toBeLessThan(5000);
  });

  it("never throws or answers wrongly whatever bytes a guest sends", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (noise) => {
        const line = open((request, { guest }) => {
          if (request.execute === "guest-sync-delimited") guest.write(Buffer.concat([Buffer.from(noise), Buffer.from("\n")]));
          return polite(request);
        });
        expect(await line.client.execute("a")).toEqual({ done: "a" });
      }),
      { numRuns: 50 },
    );
  });

  it("fails what waits when the line is closed", async () => {
    const line = open(() => undefined);
    const waiting = expect(line.client.execute("a")).rejects.toMatchObject({ code: "agent-silent" });
    await line.requested(1);
    line.socket.destroy();
    await waiting;
    await expect(line.client.execute("b")).rejects.toMatchObject({ code: "agent-silent" });
  });
});

describe("a guest", () => {
  it("is heard out about a few failed steps only, however many it tells of", async () => {
    const line = new Line(({ execute, arguments: args }) => ({ return: execute === "guest-sync-delimited" ? args?.["id"] : { hostname: "h", failed: Array.from({ length: 100_000 }, () => 0) } }));
    const guest = new Guest(line.client, true, [], line.clock, silentLog);
    const identity = { hostname: "h", machineId: "m", seed: Buffer.alloc(1), hostKey: Buffer.alloc(1), authorizedKeys: [], macs: [], blankDisk: false };
    expect((await guest.applyIdentity(identity, 1000)).failed).toHaveLength(32);
    guest.dispose();
    line.client.dispose();
  });

  it("falls silent when its agent does not answer any more, and is heard again", async () => {
    let silent = false;
    const line = new Line((request) => (silent ? undefined : polite(request)));
    const guest = new Guest(line.client, true, [], line.clock, silentLog);
    const seen: string[] = [];
    const changes: (() => void)[] = [];
    guest.onDidChange(({ agent }) => {
      seen.push(agent);
      for (const wake of changes.splice(0)) wake();
    });
    const until = async (agent: string): Promise<void> => {
      while (guest.info.agent !== agent) {
        line.clock.advance(1000);
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    expect(guest.info.agent).toBe("waiting");
    guest.watch();
    await until("answering");
    silent = true;
    await until("silent");
    silent = false;
    await until("answering");
    expect(seen).toEqual(["answering", "silent", "answering"]);
    guest.dispose();
    line.client.dispose();
  });

  it("asks nothing while it rests", async () => {
    const line = new Line(polite);
    const guest = new Guest(line.client, true, [], line.clock, silentLog);
    guest.watch();
    guest.rest();
    // What was under way is asked to the end: the sync and four questions.
    await line.requested(5);
    line.clock.advance(600_000);
    await line.client.execute("last");
    expect(line.requests.slice(5).map((request) => request.execute)).toEqual(["last"]);
    guest.dispose();
    line.client.dispose();
  });
});

describe("the addresses of a guest", () => {
  const adapters = ["52:54:00:00:00:01", "52:54:00:00:00:02"].map((mac) => ({ mac, attachment: { mode: "none" as const }, plugged: true }));

  it("belong to adapters by their card's address, without loopback and link-local ones", () => {
    const card = (mac: string, ...addresses: string[]): object => ({ "hardware-address": mac, "ip-addresses": addresses.map((address) => ({ "ip-address": address })) });
    const interfaces = [card("52:54:00:00:00:02", "192.168.1.9", "fe80::1", "2001:db8::7"), card("52:54:00:00:00:01", "10.0.2.15", "169.254.1.1"), card("00:00:00:00:00:00", "127.0.0.1"), card("52:54:00:00:00:09", "10.9.9.9")];
    expect(addressesByAdapter(interfaces, adapters)).toEqual([
      { adapter: 0, address: "10.0.2.15" },
      { adapter: 1, address: "192.168.1.9" },
      { adapter: 1, address: "2001:db8::7" },
    ]);
  });

  it("are never anything but addresses, whatever the guest says", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        for (const { address } of addressesByAdapter([{ "hardware-address": "52:54:00:00:00:01", "ip-addresses": [{ "ip-address": value }] }, value], adapters)) expect(address).toMatch(/^[0-9a-fA-F.:]+$/);
      }),
    );
  });
});
