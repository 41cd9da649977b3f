import RFB, { type RawChannel } from "@novnc/novnc";
import { forwardRef, useEffect, useImperativeHandle, useRef } from "react";
import { askAhead } from "./askAhead";
import { closeThrough } from "./closeThrough";
import { drawInStretches } from "./rawDecoder";

/** A key of the guest's keyboard: X11 keysym and `KeyboardEvent.code`. */
export interface GuestKey {
  readonly keysym: number;
  readonly code: string;
}

export interface GuestScreenHandle {
  /** Gives the keyboard to the guest. */
  capture(): void;
  /** Gives the keyboard back to the window. */
  release(): void;
  /** Presses the keys together and releases them in reverse order. */
  press(keys: readonly GuestKey[]): void;
}

export interface GuestScreenProps {
  /** The RFB connection; the screen owns it from now on and closes it when it goes away. */
  channel: RawChannel;
  /** Pixels only: nothing typed or clicked reaches the guest. */
  viewOnly?: boolean;
  /** `fit` scales to the room there is; `one` shows guest pixels one to one and scrolls. */
  scale: "fit" | "one";
  /** What a screen reader calls it. */
  label: string;
  onConnected?(): void;
  onDisconnected?(clean: boolean): void;
  /** The guest's resolution in pixels, at first and whenever it changes. */
  onSize?(width: number, height: number): void;
  /** Whether the guest has the keyboard. */
  onCaptureChange?(captured: boolean): void;
}

/** A guest's display: noVNC on an RFB channel. */
export const GuestScreen = forwardRef<GuestScreenHandle, GuestScreenProps>(function GuestScreen(props, handle) {
  const host = useRef<HTMLDivElement>(null);
  const rfb = useRef<RFB | null>(null);
  const latest = useRef(props);
  useEffect(() => {
    latest.current = props;
  });
  const { channel, viewOnly = false, scale, label } = props;

  useEffect(() => {
    const target = host.current;
    if (!target) return undefined;
    const connection = new RFB(target, channel, { shared: true });
    rfb.current = connection;
    drawInStretches(connection);
    askAhead(connection, channel);
    connection.background = "transparent";
    connection.showDotCursor = false;
    const canvas = target.querySelector("canvas");
    const size = (): void => {
      if (canvas && canvas.width > 0) latest.current.onSize?.(canvas.width, canvas.height);
    };
    // The canvas changes its attributes when the guest changes its resolution; noVNC has no event for it.
    const resolution = new MutationObserver(size);
    if (canvas) resolution.observe(canvas, { attributes: true, attributeFilter: ["width", "height"] });
    const captured = (): void => latest.current.onCaptureChange?.(true);
    const released = (): void => latest.current.onCaptureChange?.(false);
    canvas?.addEventListener("focus", captured);
    canvas?.addEventListener("blur", released);
    connection.addEventListener("connect", () => {
      size();
      latest.current.onConnected?.();
    });
    let ended = false;
    closeThrough(connection, channel, () => ended);
    connection.addEventListener("disconnect", (event) => {
      ended = true;
      const detail = (event as CustomEvent<{ clean: boolean }>).detail;
      latest.current.onDisconnected?.(detail.clean);
    });
    return () => {
      rfb.current = null;
      resolution.disconnect();
      canvas?.removeEventListener("focus", captured);
      canvas?.removeEventListener("blur", released);
      channel.close();
    };
  }, [channel]);

  useEffect(() => {
    const connection = rfb.current;
    if (!connection) return;
    connection.viewOnly = viewOnly;
    connection.focusOnClick = !viewOnly;
    connection.scaleViewport = scale === "fit";
    connection.clipViewport = false;
  }, [channel, viewOnly, scale]);

  useEffect(() => {
    const canvas = host.current?.querySelector("canvas");
    canvas?.setAttribute("aria-label", label);
    canvas?.setAttribute("role", viewOnly ? "img" : "application");
  }, [channel, label, viewOnly]);

  useImperativeHandle(
    handle,
    () => ({
      capture: () => rfb.current?.focus({ preventScroll: true }),
      release: () => rfb.current?.blur(),
      press(keys) {
        for (const key of keys) rfb.current?.sendKey(key.keysym, key.code, true);
        for (const key of [...keys].reverse()) rfb.current?.sendKey(key.keysym, key.code, false);
      },
    }),
    [],
  );

  return <div ref={host} data-testid="guest-screen" style={{ width: "100%", height: "100%", overflow: "hidden" }} />;
});
