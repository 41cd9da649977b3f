import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { ManualClock } from "../../../core/base/clock";
import { QmpClient, QmpError, type QmpEvent } from "../../../core/engine/qmp";
import { useTemporaryFolder } from "../../support/temporaryFolder";

interface Command {
  execute: string;
  arguments?: unknown;
  id: number;
}

describe("the QMP client", () => {
  const folder = useTemporaryFolder();
  const servers: Server[] = [];
  const sockets: Socket[] = [];
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
    for (const server of servers.splice(0)) server.close();
  });

  /** A monitor that hands each command to `answer`; what that returns is written as it is. */
  async function serve(answer: (command: Command, socket: Socket) => string | undefined, clock = new ManualClock()): Promise<{ client: QmpClient; socket: () => Socket; clock: ManualClock }> {
    const path = join(folder.path, "monitor.sock");
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on("error", () => socket.destroy());
      socket.write('{"QMP": {"version": {}, "capabilities": []}}\r\n');
      let text = "";
      socket.on("data", (data) => {
        text += data.toString();
        for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
          const command = JSON.parse(text.slice(0, end)) as Command;
          text = text.slice(end + 1);
          const reply = command.execute === "qmp_capabilities" ? JSON.stringify({ return: {}, id: command.id }) : answer(command, socket);
          if (reply !== undefined) socket.write(`${reply}\r\n`);
        }
      });
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const client = await QmpClient.connect(path, clock);
    return { client, clock, socket: () => sockets[0] as Socket };
  }
  const ok = (id: number, value: unknown): string => JSON.stringify({ return: value, id });

  it("matches answers to commands by their ids, in whatever order they come", async () => {
    const held: Command[] = [];
    const { client, socket } = await serve((command) => {
      held.push(command);
      if (held.length === 2) for (const { id, execute } of [...held].reverse()) socket().write(`${ok(id, execute)}\n`);
      return undefined;
    });
    expect(await Promise.all([client.execute("first"), client.execute("second", { a: 1 })])).toEqual(["first", "second"]);
    expect(held[1]?.arguments).toEqual({ a: 1 });
    client.dispose();
  });

  it("throws the machine process's refusal with QEMU's class", async () => {
    const { client } = await serve(({ id }) => JSON.stringify({ error: { class: "CommandNotFound", desc: "no such thing" }, id }));
    const error = await client.execute("fly").catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(QmpError);
    expect(error).toMatchObject({ qmpClass: "CommandNotFound", message: "The machine process refused fly: no such thing" });
    client.dispose();
  });

  it("tells events, also when one line comes in pieces", async () => {
    const { client, socket } = await serve(({ id }) => ok(id, {}));
    const events: QmpEvent[] = [];
    client.onDidEvent((event) => events.push(event));
    const stopped = client.waitFor((event) => event.event === "STOP");
    socket().write('{"event": "RESUME", "timestamp": {"seconds": 2, "microseconds": 500000}}\n{"event": "ST');
    socket().write('OP", "data": {"a": 1}}\n');
    expect(await stopped).toMatchObject({ event: "STOP", data: { a: 1 }, at: undefined });
    expect(events[0]).toEqual({ event: "RESUME", data: {}, at: 2500 });
    client.dispose();
  });

  it("gives a command up after its time, and ignores the answer that comes too late", async () => {
    let late: Command | undefined;
    const { client, clock, socket } = await serve((command) => {
      if (command.execute !== "slow") return ok(command.id, "prompt");
      late = command;
      return undefined;
    });
    const slow = client.execute("slow", undefined, 5000);
    const outcome = expect(slow).rejects.toMatchObject({ code: "timeout", message: expect.stringContaining("5 seconds") as string });
    expect(await client.execute("other")).toBe("prompt");
    clock.advance(5000);
    await outcome;
    socket().write(`${ok(late?.id ?? 0, "late")}\n`);
    expect(await client.execute("other")).toBe("prompt");
    client.dispose();
  });

  it("fails what is pending when the connection ends, and tells once why", async () => {
    const { client, socket } = await serve(() => undefined);
    const reasons: string[] = [];
    client.onDidClose((error) => reasons.push(error.message));
    const pending = expect(client.execute("forever")).rejects.toMatchObject({ code: "disconnected" });
    const waiting = expect(client.waitFor(() => false)).rejects.toMatchObject({ code: "disconnected" });
    socket().destroy();
    await Promise.all([pending, waiting]);
    await expect(client.execute("more")).rejects.toMatchObject({ code: "disconnected" });
    client.dispose();
    expect(reasons).toHaveLength(1);
  });

  it.each([
    ["something that is not JSON", "hello\n"],
    ["JSON that is no object", "[1]\n"],
    ["a line without an end", `{"event": "${"x".repeat(5 * 1024 * 1024)}`],
  ])("closes the connection on %s", async (_, bytes) => {
    const { client, socket } = await serve(() => undefined);
    const closed = new Promise<string>((resolve) => client.onDidClose((error) => resolve(error.message)));
    socket().write(bytes);
    expect(await closed).toMatch(/not QMP|without an end/);
  });

  it("stops waiting for an event when it is cancelled", async () => {
    const { client } = await serve(() => undefined);
    const abort = new AbortController();
    const waiting = expect(client.waitFor(() => false, abort.signal)).rejects.toMatchObject({ code: "cancelled" });
    abort.abort();
    await waiting;
    client.dispose();
  });

  it("says when nobody listens", async () => {
    await expect(QmpClient.connect(join(folder.path, "nothing.sock"))).rejects.toMatchObject({ code: "engine-failed" });
  });
});
