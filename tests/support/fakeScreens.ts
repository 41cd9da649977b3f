import type { MachineInfo } from "../../core/contract/model";
import type { FakeScreens } from "./fakeDesktop";

/** Screens that a browser draws: a text console as a picture and as an RFB server (RFC 6143, raw encoding). */
export const drawnScreens: FakeScreens = {
  async picture(machine) {
    const known = pictures.get(machine.name);
    if (known !== undefined) return known;
    const blob = await draw(machine).convertToBlob({ type: "image/png" });
    let text = "";
    for (const byte of new Uint8Array(await blob.arrayBuffer())) text += String.fromCharCode(byte);
    const picture = btoa(text);
    pictures.set(machine.name, picture);
    return picture;
  },
  serve(machine, port) {
    serveRfb(draw(machine), machine.name, port);
  },
};

/** Drawing takes time that belongs to no one who is measured. */
const pictures = new Map<string, string>();

const width = 720;
const height = 400;

function draw(machine: MachineInfo): OffscreenCanvas {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d")!;
  context.fillStyle = "#0a0d0c";
  context.fillRect(0, 0, width, height);
  context.font = "15px monospace";
  const { name } = machine;
  const lines: [string, string][] = [
    ["#77827b", "[    0.412] virtio_net virtio1 eth0: link is down"],
    ["#cfd6d1", "Terrarium Linux 6.1 (tty1)"],
    ["#cfd6d1", ""],
    ["#9ece6a", `${name}:~# uname -a`],
    ["#cfd6d1", `Linux ${name} 6.1.0-686 #1 SMP i686 GNU/Linux`],
    ["#9ece6a", `${name}:~# df -h /data`],
    ["#cfd6d1", "Filesystem      Size  Used Avail Use% Mounted on"],
    ["#6cc7c1", "/dev/vda        2.0G   12M  1.9G   1% /data"],
    ["#9ece6a", `${name}:~# ls /data`],
    ["#7aa8f0", "lost+found  notes.txt  site"],
    ["#9ece6a", `${name}:~# ping -c 2 10.0.2.2`],
    ["#cfd6d1", "64 bytes from 10.0.2.2: seq=0 ttl=64 time=0.418 ms"],
    ["#cfd6d1", "64 bytes from 10.0.2.2: seq=1 ttl=64 time=0.391 ms"],
    ["#9ece6a", `${name}:~# _`],
  ];
  lines.forEach(([colour, text], index) => {
    context.fillStyle = colour;
    context.fillText(text, 12, 26 + index * 20);
  });
  return canvas;
}

function serveRfb(canvas: OffscreenCanvas, name: string, port: MessagePort): void {
  const pixels = canvas.getContext("2d")!.getImageData(0, 0, width, height).data;
  const send = (bytes: Uint8Array): void => port.postMessage(bytes.slice().buffer);
  let stage = 0;
  let sent = false;
  const picture = (): Uint8Array => {
    const message = new Uint8Array(4 + 12 + pixels.length);
    const view = new DataView(message.buffer);
    view.setUint16(2, 1);
    view.setUint16(8, width);
    view.setUint16(10, height);
    message.set(pixels, 16);
    return message;
  };
  port.onmessage = (event: MessageEvent) => {
    if (!(event.data instanceof ArrayBuffer)) return;
    const bytes = new Uint8Array(event.data);
    if (stage === 0) {
      stage = 1;
      send(Uint8Array.of(1, 1));
    } else if (stage === 1) {
      stage = 2;
      send(new Uint8Array(4));
    } else if (stage === 2) {
      stage = 3;
      const title = new TextEncoder().encode(name);
      const init = new Uint8Array(24 + title.length);
      const view = new DataView(init.buffer);
      view.setUint16(0, width);
      view.setUint16(2, height);
      // 32 bits, depth 24, little endian, true colour, red lowest: the order of a canvas.
      init.set([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 0, 8, 16], 4);
      view.setUint32(20, title.length);
      init.set(title, 24);
      send(init);
    } else if (bytes.includes(3) && !sent) {
      sent = true;
      send(picture());
    }
  };
  send(new TextEncoder().encode("RFB 003.008\n"));
}
