import type { RawChannel } from "@novnc/novnc";
import { describe, expect, it } from "vitest";
import { askAhead } from "../../../../renderer/ui/askAhead";

const request = (incremental: number, width: number): Uint8Array => Uint8Array.of(3, incremental, 0, 0, 0, 0, width >> 8, width & 255, 1, 144);

/** noVNC as far as it takes pictures: it asks for the next one when it has finished one. */
function viewer() {
  const sent: Uint8Array[] = [];
  const channel = { send: (data: ArrayBuffer | ArrayBufferView) => void sent.push(new Uint8Array((data as Uint8Array).slice())) } as unknown as RawChannel;
  const connection = {
    width: 720,
    waiting: 0,
    _FBU: { rects: 0 },
    _sock: { rQwait: (_what: string, count: number): boolean => connection.waiting < count },
    _framebufferUpdate(): boolean {
      if (connection.waiting < 3) return false;
      // A picture arrives in two pieces: first it begins, then it is complete.
      connection._FBU.rects = connection._FBU.rects === 0 ? 1 : 0;
      if (connection._FBU.rects === 1) return false;
      connection.waiting = 0;
      channel.send(request(1, connection.width));
      return true;
    },
  };
  return { sent, channel, connection };
}

describe("asking ahead", () => {
  it("asks for the next picture when one begins, and not again when it is complete", () => {
    const { sent, channel, connection } = viewer();
    askAhead(connection, channel);
    channel.send(request(0, 720));
    channel.send(request(1, 720));
    expect(sent).toHaveLength(2);
    for (let picture = 0; picture < 3; picture++) {
      const before = sent.length;
      connection._framebufferUpdate();
      expect(sent, "nothing has arrived yet").toHaveLength(before);
      connection.waiting = 100;
      expect(connection._framebufferUpdate()).toBe(false);
      expect(sent).toHaveLength(before + 1);
      expect(sent.at(-1)).toEqual(request(1, 720));
      expect(connection._framebufferUpdate()).toBe(true);
      expect(sent).toHaveLength(before + 1);
    }
  });

  it("asks again when the screen has become another size meanwhile", () => {
    const { sent, channel, connection } = viewer();
    askAhead(connection, channel);
    channel.send(request(1, 720));
    connection.waiting = 100;
    connection._framebufferUpdate();
    connection.width = 1024;
    connection._framebufferUpdate();
    expect(sent.map((bytes) => bytes[6]! * 256 + bytes[7]!)).toEqual([720, 720, 1024]);
  });

  it("lets everything else through", () => {
    const { sent, channel, connection } = viewer();
    askAhead(connection, channel);
    channel.send(Uint8Array.of(4, 1, 0, 0, 0, 0, 0, 97));
    expect(sent).toEqual([Uint8Array.of(4, 1, 0, 0, 0, 0, 0, 97)]);
  });

  it("refuses a noVNC that takes pictures in another way", () => {
    expect(() => askAhead({}, viewer().channel)).toThrow(/in another way/);
  });
});
