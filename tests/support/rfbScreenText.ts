import type { Duplex } from "node:stream";
import { RfbClient } from "./rfbClient";
import type { Pixels } from "./screenReader";

const desktopSize = -223;

/** A client that has just greeted a machine's display, with all pixels asked for in `encoding`. */
export async function openRfb(stream: Duplex, encoding: number): Promise<RfbClient> {
  const client = new RfbClient(stream);
  await client.handshake();
  client.setEncodings(encoding, desktopSize);
  client.request(false);
  return client;
}

export function pixelsOf({ width, height, picture }: RfbClient): Pixels {
  return { width, height, data: new Uint8Array(picture.buffer) };
}

/** Takes updates until the picture is as wanted. */
export async function untilPicture(client: RfbClient, accepts: (pixels: Pixels) => boolean): Promise<void> {
  for (;;) {
    await client.update();
    if (accepts(pixelsOf(client))) return;
    client.request(true);
  }
}
