import { useEffect, useState } from "react";
import type { MachineInfo } from "../../../core/contract/model";
import { call } from "../../api/client";

const shown = 5;
const enoughBytes = 2_048;

/** The last lines of the machine's events, read anew whenever its state changes. */
export function LatestEvents({ machine, onAll }: { machine: MachineInfo; onAll(): void }) {
  const [lines, setLines] = useState<readonly string[]>([]);
  const { id, since, jobId } = machine;
  const { agent } = machine.guest;
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
      <ul className="events mono selectable">
        {lines.map((line, index) => (
          <li key={`${index} ${line}`}>
            <span>{line}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}
