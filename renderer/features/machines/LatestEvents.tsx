import { useEffect, useState } from "react";
import type { MachineInfo } from "../../../core/contract/model";
import { call } from "../../api/client";
import { formatWhen } from "../../ui/format";
import { useNow } from "../../ui/useNow";

const shown = 5;
const enoughBytes = 2_048;

/** The last lines of the machine's events, read anew whenever its state changes. */
export function LatestEvents({ machine, onAll }: { machine: MachineInfo; onAll(): void }) {
  const [lines, setLines] = useState<readonly string[]>([]);
  const { id, since, jobId } = machine;
  const { agent } = machine.guest;
  const now = useNow(30_000);
  useEffect(() => {
    let current = true;
    call("machine.log", { id, log: "events", maxBytes: enoughBytes }).then(
      ({ text }) => current && setLines(text.split("\n").filter((line) => line.trim() !== "").slice(-shown).reverse()),
      (error: unknown) => console.debug(`no events of machine ${id}:`, error),
    );
    return () => {
      current = false;
    };
  }, [id, since, jobId, agent]);
  if (lines.length === 0) return null;
  return (
    <section aria-label="Latest events">
      <div className="row section-head">
        <h2 className="h3 grow">Latest events</h2>
        <button type="button" className="lk" onClick={onAll}>All logs</button>
      </div>
      <ul className="events s selectable">
        {lines.map((line, index) => {
          const { at, words } = parseEvent(line);
          return (
            <li key={`${index} ${line}`}>
              {at !== undefined && <span className="num faint when" title={new Date(at).toLocaleString()}>{formatWhen(at, now)}</span>}
              <span>{words}</span>
            </li>
          );
        })}
      </ul>
    </section>
  );
}

/** A line of the log: a time of ISO 8601, a space, what happened. */
function parseEvent(line: string): { at: number | undefined; words: string } {
  const space = line.indexOf(" ");
  const at = /^\d{4}-\d\d-\d\dT/.test(line) ? Date.parse(line.slice(0, space)) : NaN;
  return Number.isNaN(at) ? { at: undefined, words: line } : { at, words: line.slice(space + 1) };
}
