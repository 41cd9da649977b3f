// A machine process that emulates nothing: it speaks the machine-process protocol well enough to test who starts it and
// talks to it. Words in the machine's name change how it behaves:
//   deaf    the guest ignores the power button        mute   the guest agent never answers
//   dies    the process ends when the guest should run      slow   saving takes until it is cancelled
//   refuses the process ends before it listens         stuck  the monitor answers no query-status
//   speechless  lets the guest run, but does not say so    cableless  refuses to plug or pull a cable
//   sullen  refuses query-status                       jammed saving fails, and the guest cannot go on after it
//   forgetful  loses the first two lines of whoever connects to the agent
//   lingers  says that it ends, and does not
// What it was told is in `x-told` over QMP.

import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";

const options = new Map();
const nets = [];
for (let index = 2; index < process.argv.length; index++) {
  const option = process.argv[index];
  if (option === "-S") continue;
  const value = process.argv[++index];
  if (option === "-net") nets.push(JSON.parse(value));
  else options.set(option, [...(options.get(option) ?? []), value]);
}
const one = (name) => options.get(name)?.[0];
const is = (word) => one("-name").includes(word);

const told = { links: Object.fromEntries(nets.map((net) => [net.id, net.link])), order: [], keys: [], agent: [], disks: (options.get("-disk") ?? []).map((text) => JSON.parse(text)) };
let status = one("-incoming") ? "inmigrate" : "prelaunch";
/** What the guest remembers; it is what a saved state holds. */
let memory = { identity: null, booted: !one("-incoming"), note: "" };
let migrating;

if (is("refuses")) {
  process.stderr.write("this machine refuses to start\n");
  process.exit(1);
}

const monitors = new Set();
const event = (name, data = {}) => {
  const now = Date.now();
  const line = JSON.stringify({ event: name, data, timestamp: { seconds: Math.floor(now / 1000), microseconds: (now % 1000) * 1000 } });
  if (name === "SHUTDOWN") writeFileSync(`${one("-pidfile")}.end`, JSON.stringify(data));
  for (const socket of monitors) socket.write(`${line}\r\n`);
};

function end(reason) {
  event("SHUTDOWN", { guest: reason === "guest-shutdown", reason });
  rmSync(one("-pidfile"), { force: true });
  setImmediate(() => process.exit(0));
}

const commands = {
  "qmp_capabilities": () => ({}),
  "query-status"() {
    if (is("sullen")) throw new Error("not now");
    return is("stuck") ? undefined : { status, running: status === "running" };
  },
  "migrate-set-capabilities": () => ({}),
  stop() {
    if (status === "running") {
      status = "paused";
      event("STOP");
    }
    return {};
  },
  cont() {
    if (is("dies")) process.exit(9);
    if (is("jammed") && status === "paused" && !one("-incoming")) throw new Error("it is jammed");
    status = "running";
    event("RESUME");
    return is("speechless") ? undefined : {};
  },
  system_reset() {
    memory = { identity: null, booted: true, note: "" };
    event("RESET", { guest: false, reason: "host-qmp-system-reset" });
    return {};
  },
  system_powerdown() {
    event("POWERDOWN");
    if (!is("deaf")) end("guest-shutdown");
    return {};
  },
  quit() {
    if (is("lingers")) {
      event("SHUTDOWN", { guest: false, reason: "host-qmp-quit" });
      return {};
    }
    end("host-qmp-quit");
    return {};
  },
  screendump({ filename }) {
    writeFileSync(filename, Buffer.from(`picture of ${one("-name")} ${status} ${memory.note}`));
    return {};
  },
  "send-key"({ keys }) {
    told.keys.push(keys.map((key) => key.data).join("+"));
    return {};
  },
  set_link({ name, up }) {
    if (is("cableless")) throw new Error("there is no such cable");
    told.links[name] = up;
    told.order.push(`${name} ${up ? "up" : "down"}`);
    return {};
  },
  "blockdev-change-medium"({ filename }) {
    told.medium = filename;
    return {};
  },
  eject() {
    told.medium = null;
    return {};
  },
  migrate({ uri }) {
    if (is("jammed")) throw new Error("it is jammed");
    status = "finish-migrate";
    event("MIGRATION", { status: "active" });
    const finish = (outcome) => {
      migrating = undefined;
      status = outcome === "completed" ? "postmigrate" : "paused";
      if (outcome === "completed") writeFileSync(uri.slice(5), JSON.stringify({ magic: "fake", memory }));
      event("MIGRATION", { status: outcome });
    };
    migrating = finish;
    if (!is("slow")) setImmediate(() => finish("completed"));
    return {};
  },
  migrate_cancel() {
    migrating?.("cancelled");
    return {};
  },
  "migrate-incoming"({ uri }) {
    let state;
    try {
      state = JSON.parse(readFileSync(uri.slice(5), "utf8"));
    } catch {
      state = {};
    }
    if (state.magic !== "fake") {
      event("MIGRATION", { status: "failed" });
      throw new Error("it is not a saved state");
    }
    memory = state.memory;
    told.order.push("restored");
    status = "paused";
    event("MIGRATION", { status: "completed" });
    return {};
  },
  "query-migrate": () => (migrating ? { status: "active" } : { status: "failed", "error-desc": "it is not a saved state" }),
  // For tests only: what was said to this machine, and things that happen to it.
  "x-told": () => ({ ...told, memory, status, environment: process.env.TERRARIUM_TEST_MARK ?? null }),
  "x-event"({ name, data }) {
    if (name === "STOP") status = "io-error";
    if (name === "RESUME") status = "running";
    event(name, data);
    return {};
  },
  "x-note"({ text }) {
    memory.note = text;
    return {};
  },
  "x-serial"({ text }) {
    for (const socket of serials) socket.write(text);
    return {};
  },
};

function listen(path, accept) {
  return new Promise((resolve, reject) => createServer(accept).once("error", reject).listen(path, resolve));
}

function lines(socket, take) {
  let text = "";
  socket.setEncoding("latin1");
  socket.on("error", () => socket.destroy());
  socket.on("data", (data) => {
    text += data;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      const line = text.slice(0, end).replaceAll("\u00ff", "");
      text = text.slice(end + 1);
      take(line);
    }
  });
}

const serials = new Set();
const executed = new Map();
const agentCommands = {
  "guest-sync-delimited": ({ id }) => id,
  "guest-ping": () => ({}),
  "guest-get-host-name": () => ({ "host-name": memory.identity?.hostname ?? "nobody" }),
  "guest-get-osinfo": () => ({ "pretty-name": "Pretend Linux 1\u001b[2J" }),
  "guest-network-get-interfaces": () => [
    { name: "lo", "ip-addresses": [{ "ip-address": "127.0.0.1" }] },
    { name: "eth0", "hardware-address": (memory.identity?.macs?.[0] ?? nets[0].mac).toUpperCase(), "ip-addresses": [{ "ip-address": "10.0.2.15" }, { "ip-address": "169.254.3.4" }, { "ip-address": "fe80::1" }] },
  ],
  "terrarium-identity"(identity) {
    memory.identity = identity;
    told.order.push("identity");
    return { hostname: identity.hostname, data: { state: "mounted" } };
  },
  "terrarium-prepare"() {
    memory.identity = null;
    told.order.push("prepare");
    return {};
  },
  "guest-set-time"({ time }) {
    told.time = time;
    return {};
  },
  "guest-shutdown"() {
    if (!is("deaf")) end("guest-shutdown");
    return undefined;
  },
  "guest-exec"({ path, arg, "input-data": input }) {
    if (path === "/bin/nothing") throw new Error("Failed to execute child process");
    const pid = executed.size + 1;
    executed.set(pid, { polls: 0, path, arg, input });
    return { pid };
  },
  "guest-exec-status"({ pid }) {
    const job = executed.get(pid);
    if (job.path === "/bin/forever" || job.polls++ < 1) return { exited: false };
    const base64 = (text) => Buffer.from(text).toString("base64");
    if (job.path === "/bin/killed") return { exited: true, signal: 9 };
    return { exited: true, exitcode: job.path === "/bin/false" ? 1 : 0, "out-data": base64([job.path, ...job.arg].join(" ") + (job.input ? ` < ${Buffer.from(job.input, "base64")}` : "")), "err-data": base64("é"), "out-truncated": job.path === "/bin/long" };
  },
};

await listen(one("-serial"), (socket) => {
  serials.add(socket);
  socket.on("error", () => socket.destroy());
  socket.on("close", () => serials.delete(socket));
  socket.on("data", (data) => {
    writeFileSync(one("-serial-log"), data, { flag: "a" });
    socket.write(data);
  });
});
await listen(one("-agent"), (socket) => {
  let lost = is("forgetful") ? 2 : 0;
  lines(socket, (line) => {
    if (lost-- > 0) return;
    if (is("mute") || status !== "running") return;
    const { execute, arguments: args = {} } = JSON.parse(line);
    told.agent.push(execute);
    let answer;
    try {
      if (!agentCommands[execute]) throw new Error(`The command ${execute} has not been found`);
      const result = agentCommands[execute](args);
      if (result === undefined) return;
      answer = { return: result };
    } catch (error) {
      answer = { error: { class: "GenericError", desc: error.message } };
    }
    socket.write(Buffer.concat([Buffer.from(execute === "guest-sync-delimited" ? [0xff] : []), Buffer.from(`${JSON.stringify(answer)}\n`)]));
  });
});
await listen(one("-vnc"), (socket) => socket.on("error", () => socket.destroy()).write("RFB 003.008\n"));
writeFileSync(one("-pidfile"), `${process.pid}\n`);
await listen(one("-monitor"), (socket) => {
  socket.write(`${JSON.stringify({ QMP: { version: { qemu: { major: 0, minor: 0, micro: 0 }, package: "fake" }, capabilities: [] } })}\r\n`);
  monitors.add(socket);
  socket.on("close", () => monitors.delete(socket));
  lines(socket, (line) => {
    const { execute, arguments: args, id } = JSON.parse(line);
    const say = (answer) => socket.write(`${JSON.stringify({ ...answer, id })}\r\n`);
    try {
      if (!commands[execute]) return say({ error: { class: "CommandNotFound", desc: `The command ${execute} has not been found` } });
      const result = commands[execute](args ?? {});
      if (result !== undefined) say({ return: result });
    } catch (error) {
      say({ error: { class: "GenericError", desc: error.message } });
    }
  });
});
