import { describe, expect, it, vi } from "vitest";
import { channelOf, type Channel } from "../../../../renderer/api/stream";
import { closeThrough } from "../../../../renderer/ui/closeThrough";

/** What noVNC does with the ends of its connection. */
class Connection {
  state: "connecting" | "disconnecting" | "disconnected" = "connecting";
  readonly complaints: string[] = [];

  constructor(readonly channel: Channel) {
    channel.onclose = () => {
      if (this.state !== "disconnecting") this.complaints.push(`closed while ${this.state}`);
      this.state = "disconnected";
    };
  }

  disconnect(): void {
    if (this.state === "disconnecting") return;
    if (this.state === "disconnected") this.complaints.push("a second end");
    this.state = "disconnecting";
    this.channel.close();
  }
}

function connected(): Connection {
  const connection = new Connection(channelOf(new MessageChannel().port1 as unknown as MessagePort));
  closeThrough(connection, connection.channel, () => connection.state === "disconnected");
  return connection;
}

describe("a display's channel", () => {
  it("ends noVNC's connection when its owner closes it, also in the middle of the handshake", async () => {
    const connection = connected();
    connection.channel.close();
    expect(connection.channel.readyState).toBe("closed");
    await vi.waitFor(() => expect(connection.state).toBe("disconnected"));
    expect(connection.complaints).toEqual([]);
  });

  it("is closed when noVNC ends the connection itself", async () => {
    const connection = connected();
    connection.disconnect();
    expect(connection.channel.readyState).toBe("closed");
    await vi.waitFor(() => expect(connection.state).toBe("disconnected"));
    expect(connection.complaints).toEqual([]);
  });

  it("may be closed again when everything is over", async () => {
    const connection = connected();
    connection.channel.close();
    await vi.waitFor(() => expect(connection.state).toBe("disconnected"));
    connection.channel.close();
    expect(connection.complaints).toEqual([]);
  });
});
