import type { RawChannel } from "@novnc/novnc";
import { useEffect, useState } from "react";

/** Milliseconds between tries to open a stream again while its machine lives. */
const retryDelays = [100, 250, 500, 1000, 2000];

export interface ChannelState {
  readonly channel: RawChannel | undefined;
  /** Why it could not be opened the last time. */
  readonly failure: string | undefined;
  /** To be called when the channel ended, so that a new one is opened. */
  readonly ended: () => void;
}

/**
 * Keeps one stream open while `wanted`: a guest's display or serial port outlives the window's connection to it (the
 * host service may move from the app to `terrarium serve` and back), so an ended stream is opened again.
 */
export function useChannel(wanted: boolean, open: () => Promise<RawChannel>): ChannelState {
  const [attempt, setAttempt] = useState(0);
  const [channel, setChannel] = useState<RawChannel>();
  const [failure, setFailure] = useState<string>();
  const [retries, setRetries] = useState(0);

  useEffect(() => {
    if (!wanted) return undefined;
    let given = true;
    let opened: RawChannel | undefined;
    const timer = setTimeout(
      () => {
        open().then(
          (fresh) => {
            if (!given) return fresh.close();
            opened = fresh;
            setFailure(undefined);
            setRetries(0);
            setChannel(fresh);
          },
          (reason: unknown) => {
            if (!given) return;
            setFailure(reason instanceof Error ? reason.message : String(reason));
            setRetries((count) => count + 1);
            setAttempt((count) => count + 1);
          },
        );
      },
      retries === 0 && attempt === 0 ? 0 : retryDelays[Math.min(retries, retryDelays.length - 1)],
    );
    return () => {
      given = false;
      clearTimeout(timer);
      opened?.close();
      setChannel(undefined);
    };
    // `retries` only lengthens the next delay; it must not open a second stream by itself.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [wanted, attempt, open]);

  return { channel, failure, ended: () => setAttempt((count) => count + 1) };
}
