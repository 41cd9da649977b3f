import { ArrowsClockwise } from "@phosphor-icons/react/dist/csr/ArrowsClockwise";
import { useCallback, useEffect, useLayoutEffect, useRef, useState, type ReactNode } from "react";
import type { MachineInfo } from "../../../core/contract/model";
import { call } from "../../api/client";
import { Button } from "../../ui/Button";
import { Problem } from "../../ui/Problem";
import { Segments } from "../../ui/Segments";
import { CommandLine } from "./CommandLine";

type LogName = "events" | "serial0" | "engine";
const logs = [
  { id: "events", label: "Events" },
  { id: "serial0", label: "Serial port" },
  { id: "engine", label: "Engine" },
] as const;
type ViewName = LogName | "command";
const views = [...logs, { id: "command", label: "Command line" }] as const;
const about: Readonly<Record<LogName, string>> = {
  events: "What happened to the machine.",
  serial0: "What the guest wrote to its first serial port.",
  engine: "What the machine's process had to say.",
};
const refreshMs = 2_000;

/** The machine's logs, and the command line of its process. */
export default function Logs({ machine }: { machine: MachineInfo }) {
  const [view, setView] = useState<ViewName>("events");
  const segments = <Segments<ViewName> label="Log" options={views} value={view} onChange={setView} />;
  if (view !== "command") return <div className="logs"><Log machine={machine} log={view} segments={segments} /></div>;
  return (
    <div className="logs">
      <div className="row">{segments}</div>
      <CommandLine machine={machine} />
    </div>
  );
}

/** The end of a log; read again while it is looked at. */
function Log({ machine, log, segments }: { machine: MachineInfo; log: LogName; segments: ReactNode }) {
  const [content, setContent] = useState<{ text: string; truncated: boolean } | undefined>();
  const [problem, setProblem] = useState<{ message: string; remedy?: string | undefined } | undefined>();
  const scroller = useRef<HTMLPreElement>(null);
  const atEnd = useRef(true);

  const read = useCallback(async (): Promise<void> => {
    try {
      const next = await call("machine.log", { id: machine.id, log });
      setContent((before) => (before?.text === next.text ? before : next));
      setProblem(undefined);
    } catch (error) {
      setProblem(error instanceof Error ? { message: error.message, remedy: "remedy" in error ? String(error.remedy ?? "") : undefined } : { message: String(error) });
    }
  }, [machine.id, log]);

  useEffect(() => {
    setContent(undefined);
    atEnd.current = true;
    void read();
    const timer = setInterval(() => {
      if (!document.hidden) void read();
    }, refreshMs);
    return () => clearInterval(timer);
  }, [read]);

  useLayoutEffect(() => {
    const element = scroller.current;
    if (element && atEnd.current) element.scrollTop = element.scrollHeight;
  }, [content]);

  return (
    <>
      <div className="row" style={{ gap: 12 }}>
        {segments}
        <span className="s faint grow trunc">{about[log]}{content?.truncated ? " Only its end is shown." : ""}</span>
        <Button small look="quiet" icon={ArrowsClockwise} aria-label="Read again" onClick={() => void read()} />
      </div>
      {problem ? (
        <Problem message={problem.message} remedy={problem.remedy} />
      ) : (
        <pre
          ref={scroller}
          className="log mono selectable"
          tabIndex={0}
          aria-label={`${logs.find((entry) => entry.id === log)?.label} log of ${machine.name}`}
          onScroll={(event) => {
            const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
            atEnd.current = scrollHeight - scrollTop - clientHeight < 24;
          }}
        >
          {content === undefined ? "" : content.text === "" ? <span className="faint">Nothing yet.</span> : plain(content.text)}
        </pre>
      )}
    </>
  );
}

/** Text without the terminal's control sequences, which only a terminal can show. */
function plain(text: string): string {
  // eslint-disable-next-line no-control-regex -- escape sequences begin with a control character
  return text.replaceAll(/\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g, "").replaceAll(/\r(?!\n)|[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, "");
}
