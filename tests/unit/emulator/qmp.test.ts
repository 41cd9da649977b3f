import { mkdtempSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DisposableStore } from "../../../core/base/disposable";
import { silentLog } from "../../../core/base/log";
import { QmpError, QmpServer, type QmpCommand } from "../../../core/emulator/qmp";
import { listenOn } from "../../../core/emulator/sockets";
import { TextSocket } from "../../support/emulatorProcess";

let store: DisposableStore;
let path: string;
let server: QmpServer;
beforeEach(async () => {
  store = new DisposableStore();
  const directory = mkdtempSync(join(tmpdir(), "qmp-"));
  store.add({ dispose: () => rmSync(directory, { recursive: true, force: true }) });
  path = join(directory, "monitor.sock");
  const commands = new Map<string, QmpCommand>([
    ["echo", (parameters) => ({ text: parameters.only("text").string("text") })],
    ["nothing", () => undefined],
    ["missing-device", () => Promise.reject(new QmpError("Device 'x' not found", "DeviceNotFound"))],
    ["bug", () => Promise.reject(new TypeError("a bug"))],
  ]);
  server = new QmpServer({ major: 1, minor: 2, micro: 3, package: "test" }, commands, silentLog);
  store.add(await listenOn(path, silentLog, server.accept));
});
afterEach(() => store.dispose());

async function client(): Promise<{ ask(line: string): Promise<unknown>; lines: TextSocket; next(): Promise<unknown> }> {
  const lines = new TextSocket(createConnection(path), "utf8");
  store.add({ dispose: () => lines.socket.destroy() });
  let read = 0;
  const next = async (): Promise<unknown> => {
    const match = await lines.until(/[^\n]*\n/, read);
    read += match[0].length;
    return JSON.parse(match[0]);
  };
  const ask = (line: string): Promise<unknown> => {
    lines.send(`${line}\n`);
    return next();
  };
  return { ask, lines, next };
}

async function negotiated(): ReturnType<typeof client> {
  const one = await client();
  await one.next();
  await one.ask('{"execute":"qmp_capabilities"}');
  return one;
}

function failure(errorClass: string, desc: string | RegExp): object {
  return { error: { class: errorClass, desc: typeof desc === "string" ? desc : expect.stringMatching(desc) } };
}

describe("the machine protocol", () => {
  it("greets, and wants capabilities negotiated before anything else", async () => {
    const one = await client();
    expect(await one.next()).toEqual({ QMP: { version: { qemu: { major: 1, minor: 2, micro: 3 }, package: "test" }, capabilities: [] } });
    expect(await one.ask('{"execute":"echo","arguments":{"text":"x"},"id":1}')).toEqual({
      ...failure("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'"),
      id: 1,
    });
    expect(await one.ask('{"execute":"qmp_capabilities"}')).toEqual({ return: {} });
    expect(await one.ask('{"execute":"qmp_capabilities"}')).toEqual(failure("CommandNotFound", /already complete/));
  });

  it("answers commands with their ids, whatever those are, and {} for nothing", async () => {
    const one = await negotiated();
    expect(await one.ask('{"execute":"echo","arguments":{"text":"hä"},"id":{"a":[1]}}')).toEqual({ return: { text: "hä" }, id: { a: [1] } });
    expect(await one.ask('{"execute":"nothing"}')).toEqual({ return: {} });
  });

  it.each([
    ["{", "GenericError", /JSON parse error/],
    ["[]", "GenericError", /must be a JSON object/],
    ["{}", "GenericError", /lacks member 'execute'/],
    ['{"execute":5}', "GenericError", /'execute' must be a string/],
    ['{"execute":"echo","arguments":[]}', "GenericError", /'arguments' must be an object/],
    ['{"execute":"echo","bogus":1}', "GenericError", /QMP input member 'bogus' is unexpected/],
    ['{"execute":"echo"}', "GenericError", /Parameter 'text' is missing/],
    ['{"execute":"echo","arguments":{"text":1}}', "GenericError", /Invalid parameter type for 'text', expected: string/],
    ['{"execute":"echo","arguments":{"text":"a","more":1}}', "GenericError", /Parameter 'more' is unexpected/],
    ['{"execute":"frobnicate"}', "CommandNotFound", "The command frobnicate has not been found"],
    ['{"execute":"missing-device"}', "DeviceNotFound", "Device 'x' not found"],
    ['{"execute":"bug"}', "GenericError", "a bug"],
  ])("answers %s as QEMU does, and lives on", async (line, errorClass, desc) => {
    const one = await negotiated();
    expect(await one.ask(line)).toEqual(failure(errorClass, desc));
    expect(await one.ask('{"execute":"nothing"}')).toEqual({ return: {} });
  });

  it("takes commands in any number of pieces", async () => {
    const one = await negotiated();
    for (const piece of ['{"exec', 'ute":"nothing"', "}\n"]) one.lines.send(piece);
    expect(await one.next()).toEqual({ return: {} });
    one.lines.send('{"execute":"nothing","id":1}\n{"execute":"nothing","id":2}\n');
    expect([await one.next(), await one.next()]).toEqual([
      { return: {}, id: 1 },
      { return: {}, id: 2 },
    ]);
  });

  it("refuses a line longer than a mebibyte and hangs up", async () => {
    const one = await negotiated();
    one.lines.socket.on("error", () => undefined);
    one.lines.send("x".repeat(1024 * 1024 + 10));
    expect(await one.next()).toEqual(failure("GenericError", /limit exceeded/));
    await one.lines.end();
    expect(await (await negotiated()).ask('{"execute":"nothing"}')).toEqual({ return: {} });
  });

  it("tells events to everyone who has negotiated, with a time", async () => {
    const [one, two] = [await negotiated(), await negotiated()];
    const silent = await client();
    await silent.next();
    server.event("STOP");
    server.event("RESET", { guest: true });
    for (const listener of [one, two]) {
      expect(await listener.next()).toMatchObject({ event: "STOP", timestamp: { seconds: expect.any(Number) as number, microseconds: expect.any(Number) as number } });
      expect(await listener.next()).toMatchObject({ event: "RESET", data: { guest: true } });
    }
    expect(await silent.ask('{"execute":"qmp_capabilities"}')).toEqual({ return: {} });
  });

  it("serves one client after another", async () => {
    for (let count = 0; count < 3; count++) {
      const one = await negotiated();
      expect(await one.ask('{"execute":"nothing"}')).toEqual({ return: {} });
      one.lines.socket.end();
      await one.lines.end();
    }
  });
});
