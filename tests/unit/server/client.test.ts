import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { silentLog } from "../../../core/base/log";
import { TerrariumError } from "../../../core/contract/errors";
import type { HostEvent } from "../../../core/contract/procedures";
import { openHome } from "../../../core/machine/home";
import { connectHost, type HostConnection } from "../../../core/server/client";
import { serveSocket, type ServedSocket } from "../../../core/server/socket";
import { FakeHost, notice, someMachine, temporaryFolder, until } from "./fakeHost";

/** A home that this process holds, so that clients find its run directory. */
async function heldHome(): Promise<{ home: string; runDir: string }> {
  const runtime = temporaryFolder();
  const opened = await openHome(temporaryFolder(), { servedBy: "headless", env: { XDG_RUNTIME_DIR: runtime } });
  onTestFinished(() => opened.release());
  return { home: opened.path, runDir: opened.runDir };
}

async function connected(): Promise<{ host: FakeHost; socket: ServedSocket; client: HostConnection }> {
  const { home, runDir } = await heldHome();
  const host = new FakeHost();
  const socket = await serveSocket(Object.assign(host, { runDir }), silentLog);
  onTestFinished(() => socket.dispose());
  const client = await connectHost(home);
  if (client === undefined) throw new Error("nobody answered");
  onTestFinished(() => client.close());
  return { host, socket, client };
}

/** A service of another make, that says what a test wants. */
async function connectedTo(behave: (socket: Socket) => void): Promise<HostConnection> {
  const { home, runDir } = await heldHome();
  const server: Server = createServer(behave);
  await new Promise<void>((resolve) => server.listen(join(runDir, "host.sock"), resolve));
  onTestFinished(() => void server.close());
  const client = await connectHost(home);
  if (client === undefined) throw new Error("nobody answered");
  onTestFinished(() => client.close());
  return client;
}

describe("a client of the host service", () => {
  it("finds nobody in a home that is not held, or whose holder does not listen", async () => {
    expect(await connectHost(temporaryFolder())).toBeUndefined();
    expect(await connectHost((await heldHome()).home)).toBeUndefined();
  });

  it("calls, and gets results and refusals", async () => {
    const { host, client } = await connected();
    host.answer = (name) => {
      if (name === "machine.pause") throw new TerrariumError("illegal-state", "The machine is off.", "Start it.");
      return [];
    };
    expect(await client.call("machine.list", {})).toEqual([]);
    await expect(client.call("machine.pause", { id: someMachine })).rejects.toMatchObject({ code: "illegal-state", message: "The machine is off.", remedy: "Start it." });
  });

  it("hears of everything from its first listener on", async () => {
    const { host, client } = await connected();
    const heard: HostEvent[] = [];
    client.onDidChange((event) => heard.push(event));
    await until(() => host.changes.hasListeners);
    host.changes.fire(notice("one"));
    host.changes.fire(notice("two"));
    await until(() => heard.length === 2);
    expect(heard).toEqual([notice("one"), notice("two")]);
  });

  it("opens streams of raw bytes, and is told why not", async () => {
    const { host, client } = await connected();
    const stream = await client.openStream({ stream: "serial", id: someMachine });
    onTestFinished(() => void stream.destroy());
    stream.end("echo\n");
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).toString()).toBe("echo\n");
    host.stream = () => {
      throw new TerrariumError("illegal-state", "The machine is off.");
    };
    await expect(client.openStream({ stream: "display", id: someMachine })).rejects.toMatchObject({ code: "illegal-state" });
  });

  it("keeps the bytes that came right behind the answer", async () => {
    const client = await connectedTo((socket) => socket.once("data", () => socket.write('{"ok":true}\nfirst screen')));
    const stream = await client.openStream({ stream: "display", id: someMachine });
    onTestFinished(() => void stream.destroy());
    const [chunk] = await new Promise<Buffer[]>((resolve) => stream.once("data", (...args: Buffer[]) => resolve(args)));
    expect(String(chunk)).toBe("first screen");
  });

  it("learns that the service ended, and so do its calls under way and later", async () => {
    const { host, socket, client } = await connected();
    host.answer = () => new Promise(() => undefined);
    let told = 0;
    client.onDidDisconnect(() => told++);
    const call = client.call("job.list", {});
    await until(() => host.calls.length === 1);
    socket.dispose();
    await expect(call).rejects.toMatchObject({ code: "disconnected" });
    await expect(client.call("job.list", {})).rejects.toMatchObject({ code: "disconnected" });
    expect(told).toBe(1);
  });

  it.each([
    ["no JSON", "hello\n"],
    ["no message of the protocol", '{"id":"one"}\n'],
    ["an event that does not exist", '{"event":{"type":"fireworks"}}\n'],
    ["an error nobody asked about", '{"id":-1,"error":{"code":"invalid-input","message":"What?"}}\n'],
  ])("hangs up on a service that says %s", async (_what, line) => {
    const client = await connectedTo((socket) => socket.write(line));
    await new Promise<void>((resolve) => client.onDidDisconnect(resolve));
  });

  it("refuses a result that is not of the call's form", async () => {
    const client = await connectedTo((socket) => socket.once("data", () => socket.write('{"id":1,"result":[{"id":"x"}]}\n')));
    await expect(client.call("machine.list", {})).rejects.toMatchObject({ code: "internal" });
  });
});
