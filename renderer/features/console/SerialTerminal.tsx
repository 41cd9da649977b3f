import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";
import type { RawChannel } from "@novnc/novnc";
import { forwardRef, useEffect, useImperativeHandle, useRef } from "react";

/** The colours of a guest's text; they are the same in both themes, as a screen's are. */
const guestColours = {
  background: "#0a0d0c",
  foreground: "#cfd6d1",
  cursor: "#cfd6d1",
  selectionBackground: "#3a4941",
  black: "#0a0d0c",
  red: "#f0776b",
  green: "#9ece6a",
  yellow: "#e5c07b",
  blue: "#7aa8f0",
  magenta: "#c4a2ec",
  cyan: "#6cc7c1",
  white: "#cfd6d1",
  brightBlack: "#77827b",
  brightRed: "#ff9a8f",
  brightGreen: "#b8e08c",
  brightYellow: "#f2d79c",
  brightBlue: "#9cc0ff",
  brightMagenta: "#dcc4ff",
  brightCyan: "#93dfda",
  brightWhite: "#ffffff",
};

export interface SerialTerminalHandle {
  focus(): void;
  /** Finds the next (or previous) occurrence and shows it. False when there is none. */
  find(text: string, backwards?: boolean): boolean;
  endFind(): void;
  /** Everything the terminal holds, or the selection when there is one. */
  text(): string;
}

export interface SerialTerminalProps {
  /** Undefined while there is no connection: what was shown stays readable. */
  channel: RawChannel | undefined;
  label: string;
  testId: string;
  /** How many characters it shows, at first and whenever that changes. */
  onSize?: ((columns: number, rows: number) => void) | undefined;
}

/** A serial port, or a login, in xterm.js. */
export const SerialTerminal = forwardRef<SerialTerminalHandle, SerialTerminalProps>(function SerialTerminal({ channel, label, testId, onSize }, handle) {
  const host = useRef<HTMLDivElement>(null);
  const terminal = useRef<Terminal | null>(null);
  const search = useRef<SearchAddon | null>(null);

  useEffect(() => {
    const element = host.current;
    if (!element) return undefined;
    const created = new Terminal({
      fontFamily: '"JetBrains Mono Variable", "JetBrains Mono", ui-monospace, monospace',
      fontSize: 12,
      lineHeight: 1.3,
      scrollback: 5000,
      theme: guestColours,
      cursorBlink: false,
      screenReaderMode: true,
      allowProposedApi: false,
    });
    const fit = new FitAddon();
    const finder = new SearchAddon();
    created.loadAddon(fit);
    created.loadAddon(finder);
    created.open(element);
    const sized = onSize && created.onResize(({ cols, rows }) => onSize(cols, rows));
    created.textarea?.setAttribute("aria-label", label);
    const resized = new ResizeObserver(() => {
      if (element.clientWidth > 0 && element.clientHeight > 0) fit.fit();
    });
    resized.observe(element);
    terminal.current = created;
    search.current = finder;
    return () => {
      resized.disconnect();
      sized?.dispose();
      terminal.current = null;
      search.current = null;
      created.dispose();
    };
  }, [label, onSize]);

  useEffect(() => {
    const shown = terminal.current;
    if (!shown || !channel) return undefined;
    // The port sends its last 64 KB first, which would stand twice after a reconnect.
    shown.reset();
    const encoder = new TextEncoder();
    channel.onmessage = (event) => shown.write(new Uint8Array(event.data));
    const typed = shown.onData((text) => channel.send(encoder.encode(text)));
    const binary = shown.onBinary((text) => channel.send(Uint8Array.from(text, (character) => character.charCodeAt(0))));
    return () => {
      channel.onmessage = null;
      typed.dispose();
      binary.dispose();
    };
  }, [channel]);

  useImperativeHandle(
    handle,
    () => ({
      focus: () => terminal.current?.focus(),
      find: (text, backwards) => (backwards ? search.current?.findPrevious(text) : search.current?.findNext(text)) ?? false,
      endFind: () => terminal.current?.clearSelection(),
      text() {
        const shown = terminal.current;
        if (!shown) return "";
        if (shown.hasSelection()) return shown.getSelection();
        const buffer = shown.buffer.active;
        const lines: string[] = [];
        for (let row = 0; row < buffer.length; row++) lines.push(buffer.getLine(row)?.translateToString(true) ?? "");
        return lines.join("\n").replace(/\n+$/, "\n");
      },
    }),
    [],
  );

  return <div ref={host} data-testid={testId} style={{ position: "absolute", inset: "8px 4px 4px 12px" }} />;
});
