// A pretended fabric: it listens where the real one would, remembers what it was told and appends it to a file beside its
// socket, and obeys words in the state: a forward of the machine "taken" does not listen, and so on. Started as the real one.

import { appendFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";

const option = (name) => process.argv[process.argv.indexOf(`--${name}`) + 1];
const runDir = option("run-dir");
const journal = join(runDir, "fabric.journal");
const note = (what) => appendFileSync(journal, `${JSON.stringify({ pid: process.pid, ...what })}\n`);
let state = { segments: [], ports: [], forwards: [] };
const sockets = [];

const statusOf = ({ segments, ports, forwards }) => ({
  segments: segments.map(({ id }) => ({ id })),
  ports: ports.map(({ id, plugged }) => ({ id, connected: plugged, address: "10.0.2.15" })),
  forwards: forwards.map(({ id, forward }) => (forward.hostPort === 666 ? { id, problem: { code: "locked", message: "Port 666 is used by the program devil.", remedy: "Choose another." } } : { id })),
});

const answers = {
  hello: () => ({ build: option("build"), pid: process.pid, fast: false, state }),
  apply: (wanted) => {
    state = wanted;
    note({ applied: wanted });
    // One port is a word: whoever forwards it asks for a death.
    if (wanted.forwards.some(({ forward }) => forward.hostPort === 6660)) process.exit(3);
    return statusOf(wanted);
  },
  leases: () => [{ mac: "52:54:00:00:00:01", address: "10.0.2.15", expiresAt: 0, reserved: true }],
  flows: () => [],
  cutFlow: () => ({}),
  counters: () => ({ ports: {}, segments: {} }),
  cards: () => [],
  stop: () => {
    note({ stopped: true });
    setImmediate(() => process.exit(0));
    return {};
  },
};

const server = createServer((socket) => {
  sockets.push(socket);
  socket.on("error", () => socket.destroy());
  createInterface({ input: socket }).on("line", (line) => {
    const { id, call, input } = JSON.parse(line);
    const output = answers[call](input);
    socket.write(`${JSON.stringify({ id, output })}\n`);
  });
});
server.listen(join(runDir, "fabric.sock"), () => note({ started: true }));
process.on("SIGUSR2", () => {
  for (const socket of sockets) socket.write(`${JSON.stringify({ event: "refused", forward: state.forwards[0].id, reason: "off" })}\n`);
});
// Nobody tests that long.
setTimeout(() => process.exit(9), 120_000);
