// Two ends of TCP streams, in plain Node, that say what they sent and got as JSON lines:
//
//   node streamPeer.mjs serve ADDRESS PORT        says {"ready":true}, then tells of each connection when it is over
//   node streamPeer.mjs ask ADDRESS PORT WISH     connects, says what became of it, and ends
//
// WISH is JSON, which the asking end sends as the first line of the connection. Both ends then do their part of it:
//
//   {"do":"transfer","up":N,"down":M}             N bytes are sent up and M down, each followed by the end of the stream.
//       "first":"up"|"down"                       one way is begun when the other has come to its end, so that each end is
//                                                 a half-closed connection; absent: both at once
//       "pause":"up"|"down"                       whoever reads that way says {"paused":true} after its first bytes, and
//                                                 reads on when it gets a line on standard input
//       "connections":K                           that, K times at once; the answer is how many of them were whole
//   {"do":"reset","by":"server"|"client"}         that end resets the connection; the other says what it saw
//
//   node streamPeer.mjs datagrams ADDRESS PORT WORDS    sends each of the JSON list as the one before is answered

import { createCipheriv, createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";

const [role, address, portText, wishText] = process.argv.slice(2);
const port = Number(portText);
const say = (words) => process.stdout.write(`${JSON.stringify(words)}\n`);
const goOn = createInterface({ input: process.stdin });

/** Bytes without any repetition, the same each time. */
function* stream(count, seed) {
  const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16, seed), Buffer.alloc(16));
  const zeros = Buffer.alloc(262_144);
  for (let left = count; left > 0; left -= Math.min(left, zeros.length)) yield cipher.update(zeros.subarray(0, Math.min(left, zeros.length)));
}

async function send(socket, count, seed) {
  const hash = createHash("sha256");
  let sent = 0;
  for (const bytes of stream(count, seed)) {
    hash.update(bytes);
    if (!socket.write(bytes)) await drained(socket);
    if (socket.destroyed) break;
    sent += bytes.length;
  }
  socket.end();
  return { bytes: sent, sha256: hash.digest("hex"), ...(socket.errored ? { error: socket.errored.code ?? String(socket.errored) } : {}) };
}

function drained(socket) {
  return new Promise((resolve) => {
    const over = () => {
      socket.off("drain", over).off("close", over);
      resolve();
    };
    socket.on("drain", over).on("close", over);
  });
}

function receive(socket, pauses) {
  const hash = createHash("sha256");
  let bytes = 0;
  let paused = !pauses;
  return new Promise((resolve) => {
    let isOver = false;
    const over = (error) => {
      if (isOver) return;
      isOver = true;
      resolve({ bytes, sha256: hash.digest("hex"), ...(error ? { error: error.code ?? String(error) } : {}) });
    };
    socket.on("data", (chunk) => {
      hash.update(chunk);
      bytes += chunk.length;
      if (paused) return;
      paused = true;
      socket.pause();
      say({ paused: true });
      goOn.once("line", () => socket.resume());
    });
    socket.once("end", () => over()).once("error", over).once("close", () => over(new Error("closed without an end")));
    socket.resume();
  });
}

/** What each end does of a transfer: `own` is the way it sends. */
async function transfer(socket, { up = 0, down = 0, first, pause }, own) {
  const other = own === "up" ? "down" : "up";
  const counts = { up, down };
  const seeds = { up: 1, down: 2 };
  const got = receive(socket, pause === other);
  const sent = first === other ? got.then(() => send(socket, counts[own], seeds[own])) : send(socket, counts[own], seeds[own]);
  return { sent: await sent, got: await got };
}

/** How the other end's reset was seen. */
function sees(socket) {
  socket.resume();
  return new Promise((resolve) => socket.once("error", (error) => resolve({ saw: error.code })).once("end", () => resolve({ saw: "end" })));
}

function serve() {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.setNoDelay(true);
    let line = Buffer.alloc(0);
    const begin = (chunk) => {
      line = Buffer.concat([line, chunk]);
      const end = line.indexOf(10);
      if (end < 0) return;
      socket.off("data", begin);
      socket.pause();
      const wish = JSON.parse(line.subarray(0, end).toString());
      if (end + 1 < line.length) socket.unshift(line.subarray(end + 1));
      if (wish.do === "transfer") transfer(socket, wish, "down").then((done) => wish.connections === undefined && say(done));
      else if (wish.by === "server") socket.resetAndDestroy();
      else {
        socket.write("reset me\n");
        sees(socket).then(say);
      }
    };
    socket.on("data", begin);
    socket.on("error", () => socket.destroy());
  });
  server.listen(port, address, 1024, () => say({ ready: true }));
}

function open() {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: address, allowHalfOpen: true, noDelay: true }, () => resolve(socket));
    socket.once("error", reject);
    socket.on("error", () => socket.destroy());
  });
}

async function ask(wish) {
  const socket = await open();
  socket.write(`${JSON.stringify(wish)}\n`);
  if (wish.do === "transfer") return transfer(socket, wish, "up");
  if (wish.by === "server") return sees(socket);
  await new Promise((resolve) => socket.once("data", resolve));
  socket.resetAndDestroy();
  return { reset: true };
}

/** Whether one was whole is seen from what the server must have sent and got. */
async function askMany(wish) {
  const expected = createHash("sha256");
  for (const bytes of stream(wish.down, 2)) expected.update(bytes);
  const sha256 = expected.digest("hex");
  const all = await Promise.allSettled(Array.from({ length: wish.connections }, () => ask(wish)));
  const wrong = all.filter(({ value }) => value?.got.sha256 !== sha256);
  return { whole: all.length - wrong.length, wrong: wrong.slice(0, 3).map(({ reason, value }) => reason?.code ?? value) };
}

/** On a connected socket, which hears of ICMP errors. */
function datagrams(words) {
  const socket = createSocket("udp4");
  const answers = [];
  const over = (result) => {
    say(result);
    socket.close();
    goOn.close();
  };
  const next = () => (answers.length === words.length ? over({ answers }) : socket.send(words[answers.length], (error) => error && over({ failed: error.code })));
  socket.on("message", (message) => {
    answers.push(message.toString());
    next();
  });
  socket.on("error", (error) => over({ failed: error.code }));
  socket.connect(port, address, next);
}

if (role === "serve") serve();
else if (role === "datagrams") datagrams(JSON.parse(wishText));
else {
  const wish = JSON.parse(wishText);
  (wish.connections === undefined ? ask(wish) : askMany(wish)).then(say, (error) => say({ failed: error.code })).finally(() => goOn.close());
}
