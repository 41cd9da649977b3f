// A folder as a web server: `node mirror.mjs FOLDER PORT`. Prints "ready" when it listens, and "GET PATH" for each file it sends.

import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { join, normalize } from "node:path";

const [folder, port] = process.argv.slice(2);

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url ?? "/", "http://mirror");
  const file = join(folder, normalize(decodeURIComponent(pathname)));
  const found = statSync(file, { throwIfNoEntry: false });
  if (request.method !== "GET" || !found?.isFile()) return void response.writeHead(404).end();
  console.log(`GET ${pathname}`);
  response.writeHead(200, { "content-length": found.size, "last-modified": found.mtime.toUTCString() });
  createReadStream(file).pipe(response);
});
server.listen(Number(port), "0.0.0.0", () => console.log("ready"));
