import type { RawChannel } from "@novnc/novnc";
import { Copy } from "@phosphor-icons/react/dist/csr/Copy";
import { MagnifyingGlass } from "@phosphor-icons/react/dist/csr/MagnifyingGlass";
import { X } from "@phosphor-icons/react/dist/csr/X";
import { useEffect, useRef, useState } from "react";
import { desktop } from "../../api/client";
import { Button } from "../../ui/Button";
import { attempt, toasts } from "../../ui/toasts";
import { SerialTerminal, type SerialTerminalHandle } from "./SerialTerminal";

export interface SerialPaneProps {
  /** The machine's name. */
  readonly machine: string;
  readonly channel: RawChannel | undefined;
  /** What stands in the head when there is no connection. */
  readonly note: string | undefined;
  onClose(): void;
}

/** The serial port with its head: find, copy, close. */
export function SerialPane({ machine, channel, note, onClose }: SerialPaneProps) {
  const terminal = useRef<SerialTerminalHandle>(null);
  const [finding, setFinding] = useState(false);
  const [missing, setMissing] = useState(false);

  useEffect(() => terminal.current?.focus(), []);

  const copy = (): void => {
    void attempt(async () => {
      await desktop.copyText(terminal.current?.text() ?? "");
      toasts.show({ level: "success", message: `The text of ${machine}'s terminal is on the clipboard.` });
    }, machine);
  };
  const endFind = (): void => {
    setFinding(false);
    setMissing(false);
    terminal.current?.endFind();
    terminal.current?.focus();
  };

  return (
    <section className="serial" aria-label="Serial port">
      <div className="row head">
        <b>Serial 0</b>
        <span className="mono faint">ttyS0</span>
        {note !== undefined && <span className="xs faint trunc">{note}</span>}
        <span className="grow" />
        {finding && (
          <input
            className="input"
            style={{ width: 150, height: 26 }}
            aria-label="Find in the terminal"
            aria-invalid={missing || undefined}
            placeholder="Find"
            autoFocus
            onChange={(event) => setMissing(event.target.value !== "" && !terminal.current?.find(event.target.value))}
            onKeyDown={(event) => {
              if (event.key === "Enter") setMissing(!terminal.current?.find(event.currentTarget.value, event.shiftKey));
              if (event.key === "Escape") endFind();
            }}
          />
        )}
        <Button look="quiet" small icon={MagnifyingGlass} aria-label={finding ? "End the search" : "Find"} onClick={() => (finding ? endFind() : setFinding(true))} />
        <Button look="quiet" small icon={Copy} aria-label="Copy the text" onClick={copy} />
        <Button look="quiet" small icon={X} aria-label="Close the serial terminal" onClick={onClose} />
      </div>
      <div className="body">
        <SerialTerminal ref={terminal} channel={channel} label="Serial terminal" />
      </div>
    </section>
  );
}
