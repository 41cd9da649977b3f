import type { HostConnectionState } from "../../core/contract/desktop";
import { Button } from "../ui/Button";
import { Logo } from "../ui/Logo";
import { OwnWindowButtons } from "./OwnWindowButtons";

const headings: Readonly<Record<string, string>> = {
  locked: "Another Terrarium has these machines",
  "read-only": "The machines' folder cannot be written",
  "disk-full": "The disk is full",
  disconnected: "The connection to the machines was lost",
};

/** Stands in for everything while there is no host service: why, and what to do about it. */
export function ConnectionScreen({ connection }: { connection: HostConnectionState }) {
  const failed = connection.state === "failed" ? connection.error : undefined;
  return (
    <div className="connection">
      <header className="page-top drag"><OwnWindowButtons /></header>
      <main className="connection-body">
        <Logo size={52} />
        {failed ? (
          <div role="alert" className="selectable">
            <h1>{headings[failed.code] ?? "Terrarium cannot reach its machines"}</h1>
            <p>{failed.message}</p>
            {failed.remedy !== undefined && <p className="dim">{failed.remedy}</p>}
            <p className="faint s">It is tried again every few seconds. Machines that were running go on running.</p>
            <div className="row" style={{ justifyContent: "center", marginTop: 18 }}>
              <Button onClick={() => void window.terrarium.window("close")}>Close</Button>
            </div>
          </div>
        ) : (
          <p className="faint" role="status">Looking for the machines</p>
        )}
      </main>
    </div>
  );
}
