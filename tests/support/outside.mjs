// The servers of the outside world: `node outside.mjs HTTP_PORT ECHO_PORT`. Prints "ready" when all of them listen.
//
//   GET /            who asks, as the server sees him
//   GET /bytes/N     N bytes that look random, the same each time; their SHA-256 is the trailer-free header x-sha256
//   PUT /            counts and hashes what is sent
//   echo, TCP        sends back what it gets, and ends when the other side does
//   echo, UDP        answers each datagram with itself and who sent it

import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { createServer as createHttp } from "node:http";
import { createServer } from "node:net";

const [httpPort, echoPort] = process.argv.slice(2).map(Number);

/** A block of bytes that no compression and no mix-up of pieces goes unnoticed in. */
function block(index) {
  const bytes = Buffer.alloc(65_536);
  let state = (index * 2_654_435_761 + 1) >>> 0;
  for (let at = 0; at < bytes.length; at += 4) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes.writeUInt32LE(state >>> 0, at);
  }
  return bytes;
}

function* blocks(count) {
  for (let index = 0, left = count; left > 0; index++) {
    const bytes = block(index).subarray(0, left);
    left -= bytes.length;
    yield bytes;
  }
}

const http = createHttp(async (request, response) => {
  const [, wanted] = /^\/bytes\/(\d{1,11})$/.exec(request.url ?? "") ?? [];
  if (request.method === "PUT") {
    const hash = createHash("sha256");
    let bytes = 0;
    for await (const chunk of request) {
      hash.update(chunk);
      bytes += chunk.length;
    }
    response.end(`${bytes} ${hash.digest("hex")}\n`);
  } else if (wanted !== undefined) {
    const hash = createHash("sha256");
    for (const bytes of blocks(Number(wanted))) hash.update(bytes);
    response.writeHead(200, { "content-length": wanted, "x-sha256": hash.digest("hex") });
    for (const bytes of blocks(Number(wanted))) {
      if (!response.write(bytes)) await new Promise((resolve) => response.once("drain", resolve).once("close", resolve));
      if (response.destroyed) return;
    }
    response.end();
  } else {
    response.end(`you are ${request.socket.remoteAddress?.replace(/^::ffff:/, "")}\n`);
  }
});

const tcp = createServer({ allowHalfOpen: true }, (socket) => socket.on("error", () => socket.destroy()).pipe(socket));
const udp = createSocket("udp4", (message, peer) => udp.send(`${message} from ${peer.address}`, peer.port, peer.address));

await Promise.all([
  new Promise((resolve) => http.listen(httpPort, "0.0.0.0", resolve)),
  new Promise((resolve) => tcp.listen(echoPort, "0.0.0.0", resolve)),
  new Promise((resolve) => udp.bind(echoPort, "0.0.0.0", resolve)),
]);
console.log("ready");
