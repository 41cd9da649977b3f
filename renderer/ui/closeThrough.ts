import type { RawChannel } from "@novnc/novnc";

/**
 * Lets whoever closes the channel end noVNC's connection by that. noVNC then knows that the end is wanted; told of a closed
 * channel only, it complains when its handshake was not done yet.
 */
export function closeThrough(connection: { disconnect(): void }, channel: RawChannel, hasEnded: () => boolean): void {
  const { close } = channel;
  channel.close = () => {
    // noVNC closes the channel in turn.
    channel.close = close;
    if (!hasEnded()) connection.disconnect();
    close.call(channel);
  };
}
