import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../core/base/clock";
import { silentLog } from "../../../core/base/log";
import { TerrariumError } from "../../../core/contract/errors";
import { FabricClient } from "../../../core/machine/fabricClient";
import type { FabricState } from "../../../core/net/control";
import { serveControl, type ControlServer, type FabricHandlers } from "../../../core/net/controlServer";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const folder = useTemporaryFolder();
const empty: FabricState = { segments: [], ports: [], forwards: [] };
const path = (): string => `${folder.path}/fabric.sock`;
let server: ControlServer;
let attended: boolean[];
const sockets: Socket[] = [];

const handlers: FabricHandlers = {
  hello: async () => ({ build: "1", pid: 1, fast: false, state: empty }),
  apply: async () => ({ segments: [], ports: [], forwards: [] }),
  leases: async () => Promise.reject(new TerrariumError("not-found", "There is no such segment.")),
  flows: () => new Promise(() => undefined),
  cutFlow: async () => ({}),
  counters: async () => ({ ports: {}, segments: { made: "wrongly" } as never }),
  cards: async () => Promise.reject(new Error("a bug")),
  stop: async () => ({}),
};

beforeEach(async () => {
  attended = [];
  server = await serveControl(path(), handlers, silentLog, (here) => attended.push(here));
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  server.dispose();
});

async function client(): Promise<FabricClient> {
  const connected = await FabricClient.connect(path(), systemClock());
  if (!connected) throw new Error("nobody listens");
  return connected;
}

async function raw(): Promise<Socket> {
  const socket = connect(path());
  sockets.push(socket);
  socket.on("error", () => undefined);
  await new Promise((resolve) => socket.once("connect", resolve));
  return socket;
}

const closed = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once("close", () => resolve()));

describe("the fabric's control socket", () => {
  it("answers calls, with what went wrong as data", async () => {
    const host = await client();
    expect(await host.call("hello", {}, 5000)).toEqual({ build: "1", pid: 1, fast: false, state: empty });
    await expect(host.call("leases", { segment: "x" }, 5000)).rejects.toMatchObject({ code: "not-found" });
    await expect(host.call("cards", {}, 5000)).rejects.toMatchObject({ code: "internal" });
    await expect(host.call("apply", { segments: 5 } as never, 5000)).rejects.toMatchObject({ code: "invalid-input" });
    host.dispose();
  });

  it("is not believed when it answers what cannot be", async () => {
    const host = await client();
    await expect(host.call("counters", {}, 5000)).rejects.toMatchObject({ code: "internal" });
    host.dispose();
  });

  it("tells events to the host service that is there", async () => {
    const host = await client();
    await host.call("hello", {}, 5000);
    const heard = new Promise((resolve) => host.onDidEvent(resolve));
    server.tell({ event: "refused", forward: "f", reason: "off" });
    expect(await heard).toEqual({ event: "refused", forward: "f", reason: "off" });
    host.dispose();
  });

  it("lets the host service go that was there when another one comes, and says when nobody is there", async () => {
    const first = await client();
    await first.call("hello", {}, 5000);
    const gone = new Promise((resolve) => first.onDidClose(resolve));
    const pending = first.call("flows", { segment: "x" }, 5000);
    const second = await client();
    await expect(pending).rejects.toMatchObject({ code: "disconnected" });
    await gone;
    await second.call("hello", {}, 5000);
    expect(server.isAttended).toBe(true);
    second.dispose();
    await expect.poll(() => attended).toEqual([true, true, false]);
  });

  it("waits for no answer longer than it was told", async () => {
    const host = await client();
    await expect(host.call("flows", { segment: "x" }, 1)).rejects.toMatchObject({ code: "timeout" });
    host.dispose();
  });

  it.each([["not JSON\n"], ["{}\n"], ['{"id":1.5,"call":"hello","input":{}}\n'], ['[1,2,3]\n'], ["\n"], ["x".repeat(5 * 1024 * 1024)]])("ends a connection that says what is no request", async (text) => {
    const socket = await raw();
    const end = closed(socket);
    socket.write(text);
    await end;
    const host = await client();
    expect((await host.call("hello", {}, 5000)).build).toBe("1");
    host.dispose();
  });

  it("refuses calls that it does not know, those of every object among them", async () => {
    const socket = await raw();
    const lines = createInterface({ input: socket });
    for (const call of ["nonsense", "constructor", "__proto__", "toString"]) {
      const answer = new Promise<string>((resolve) => lines.once("line", resolve));
      socket.write(`${JSON.stringify({ id: 1, call, input: {} })}\n`);
      expect(JSON.parse(await answer)).toMatchObject({ id: 1, error: { code: "invalid-input" } });
    }
  });

  it("lets nobody have endless calls under way", async () => {
    const socket = await raw();
    const end = closed(socket);
    for (let id = 0; id < 100; id++) socket.write(`${JSON.stringify({ id, call: "flows", input: { segment: "x" } })}\n`);
    await end;
  });

  it("survives whatever is written to it", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(fc.string(), fc.json(), fc.constant("\n")), { maxLength: 20 }), async (pieces) => {
        const socket = await raw();
        const end = closed(socket);
        socket.end(pieces.join("\n"));
        socket.resume();
        await end;
      }),
      { numRuns: 30 },
    );
    const host = await client();
    expect((await host.call("hello", {}, 5000)).build).toBe("1");
    host.dispose();
  });
});
