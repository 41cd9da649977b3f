import { afterEach, describe, expect, it, vi } from "vitest";
import { channelOf, type Channel } from "../../../../renderer/api/stream";

const open: MessagePort[] = [];

function pair(): { channel: Channel; far: MessagePort } {
  const { port1, port2 } = new MessageChannel();
  open.push(port1 as unknown as MessagePort, port2 as unknown as MessagePort);
  return { channel: channelOf(port1 as unknown as MessagePort), far: port2 as unknown as MessagePort };
}

function bytes(...values: number[]): ArrayBuffer {
  return Uint8Array.from(values).buffer;
}

afterEach(() => {
  for (const port of open.splice(0)) port.close();
});

describe("a stream's channel", () => {
  it("has everything noVNC looks for as own properties", () => {
    const { channel } = pair();
    for (const name of ["send", "close", "binaryType", "onerror", "onmessage", "onopen", "protocol", "readyState"]) {
      expect(Object.keys(channel)).toContain(name);
    }
    expect(channel.readyState).toBe("open");
  });

  it("keeps what arrives before anyone listens, and hands it over in order after the listener's own code", async () => {
    const { channel, far } = pair();
    const second = vi.fn();
    const { port1, port2 } = new MessageChannel();
    open.push(port1 as unknown as MessagePort, port2 as unknown as MessagePort);
    far.postMessage(bytes(1));
    far.postMessage(bytes(2));
    // A round trip on another channel: by then both messages have arrived.
    (port2 as unknown as MessagePort).onmessage = second;
    port1.postMessage("ping");
    await vi.waitFor(() => expect(second).toHaveBeenCalled());

    const heard: number[] = [];
    channel.onmessage = ({ data }) => heard.push(new Uint8Array(data)[0]!);
    expect(heard).toEqual([]);
    far.postMessage(bytes(3));
    await vi.waitFor(() => expect(heard).toEqual([1, 2, 3]));
  });

  it("sends a copy of exactly the view's bytes", async () => {
    const { channel, far } = pair();
    const heard: number[][] = [];
    far.onmessage = (event) => heard.push([...new Uint8Array(event.data as ArrayBuffer)]);
    const owner = Uint8Array.of(9, 1, 2, 9);
    channel.send(owner.subarray(1, 3));
    owner.fill(0);
    await vi.waitFor(() => expect(heard).toEqual([[1, 2]]));
    expect(owner.byteLength).toBe(4);
  });

  it("tells why it ended, and sends nothing afterwards", async () => {
    const { channel, far } = pair();
    const closed = vi.fn();
    channel.onclose = closed;
    far.postMessage({ end: true, error: { code: "disconnected", message: "The machine is off." } });
    await vi.waitFor(() => expect(closed).toHaveBeenCalledOnce());
    expect(channel.readyState).toBe("closed");
    expect(channel.error).toEqual({ code: "disconnected", message: "The machine is off." });
    expect(() => channel.send(bytes(1))).not.toThrow();
  });

  it("says goodbye when it is closed here", async () => {
    const { channel, far } = pair();
    const heard = vi.fn();
    far.onmessage = (event) => heard(event.data);
    channel.close();
    channel.close();
    await vi.waitFor(() => expect(heard).toHaveBeenCalledWith({ end: true }));
    expect(heard).toHaveBeenCalledOnce();
  });

  it("tells of its end after whoever closed it has finished, as a WebSocket does", async () => {
    const { channel } = pair();
    const closed = vi.fn();
    channel.onclose = closed;
    channel.close();
    expect(closed).not.toHaveBeenCalled();
    await vi.waitFor(() => expect(closed).toHaveBeenCalledOnce());
  });
});
