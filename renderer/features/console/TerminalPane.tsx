import type { RawChannel } from "@novnc/novnc";
import { Copy } from "@phosphor-icons/react/dist/csr/Copy";
import { MagnifyingGlass } from "@phosphor-icons/react/dist/csr/MagnifyingGlass";
import { X } from "@phosphor-icons/react/dist/csr/X";
import { useEffect, useRef, useState } from "react";
import { desktop } from "../../api/client";
import { Button } from "../../ui/Button";
import { Segments } from "../../ui/Segments";
import { attempt, toasts } from "../../ui/toasts";
import { SerialTerminal, type SerialTerminalHandle } from "./SerialTerminal";
import { SshCover } from "./SshCover";
import type { Ssh } from "./useSsh";

export type TerminalView = "serial" | "ssh";

const views = [
  { id: "serial", label: "Serial 0" },
  { id: "ssh", label: "SSH" },
] as const;

export interface TerminalPaneProps {
  /** The machine's name. */
  readonly machine: string;
  /** A pane that is not shown keeps what its terminals hold. */
  readonly shown: boolean;
  readonly view: TerminalView;
  onView(view: TerminalView): void;
  readonly serial: RawChannel | undefined;
  readonly ssh: Ssh;
  /** What stands in the head when there is no connection to the serial port. */
  readonly note: string | undefined;
  onClose(): void;
}

/** The terminals of a machine, its serial port and a login by ssh, with their head: find, copy, close. */
export function TerminalPane({ machine, shown, view, onView, serial, ssh, note, onClose }: TerminalPaneProps) {
  const serialTerminal = useRef<SerialTerminalHandle>(null);
  const sshTerminal = useRef<SerialTerminalHandle>(null);
  const [finding, setFinding] = useState(false);
  const [missing, setMissing] = useState(false);
  const terminal = view === "serial" ? serialTerminal : sshTerminal;

  useEffect(() => {
    if (shown) terminal.current?.focus();
  }, [shown, terminal, ssh.channel]);

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
  const words = view === "serial" ? note : ssh.note;

  return (
    <section className="serial" hidden={!shown} aria-label={view === "serial" ? "Serial port" : "SSH"}>
      <div className="row head">
        <Segments<TerminalView> label="Terminal" options={views} value={view} onChange={onView} />
        {words !== undefined && <span className="xs faint trunc">{words}</span>}
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
        <Button look="quiet" small icon={X} aria-label="Close the terminal" onClick={onClose} />
      </div>
      {/* Both stay, so that what they show is still there when one comes back to them. */}
      <div className="body" hidden={view !== "serial"}>
        <SerialTerminal ref={serialTerminal} channel={serial} label="Serial terminal" testId="serial-terminal" />
      </div>
      <div className="body ssh" hidden={view !== "ssh"}>
        <div className="terminal">
          <SerialTerminal ref={sshTerminal} channel={ssh.channel} label="SSH terminal" testId="ssh-terminal" onSize={ssh.resize} />
        </div>
        <SshCover ssh={ssh} />
      </div>
    </section>
  );
}
