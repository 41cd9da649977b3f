import { ArrowsClockwise } from "@phosphor-icons/react/dist/csr/ArrowsClockwise";
import { CheckCircle } from "@phosphor-icons/react/dist/csr/CheckCircle";
import { Warning } from "@phosphor-icons/react/dist/csr/Warning";
import { WarningOctagon } from "@phosphor-icons/react/dist/csr/WarningOctagon";
import { useCallback, useEffect, useState } from "react";
import type { DoctorCheck } from "../../../core/contract/model";
import { call } from "../../api/client";
import { useHost } from "../../api/hooks";
import { Button } from "../../ui/Button";
import { formatBytes, formatMiB, plural } from "../../ui/format";
import { Page } from "../../ui/Page";
import { attempt } from "../../ui/toasts";
import { grouped, summary } from "./checkGroups";

const marks = {
  ok: { icon: CheckCircle, colour: "var(--run)", word: "in order" },
  warning: { icon: Warning, colour: "var(--pause)", word: "warning" },
  error: { icon: WarningOctagon, colour: "var(--crash)", word: "problem" },
} as const;

/** This computer: what it has, what machines can run on it, and what is in the way. */
export default function HostPage({ windowButtons }: { windowButtons: React.ReactNode }) {
  const host = useHost();
  const [checks, setChecks] = useState<readonly DoctorCheck[] | undefined>();
  const [busy, setBusy] = useState(false);

  const examine = useCallback(async (): Promise<void> => {
    setBusy(true);
    const found = await attempt(() => call("host.doctor", {}));
    setBusy(false);
    if (found) setChecks(found);
  }, []);
  useEffect(() => void examine(), [examine]);

  return (
    <Page
      title="This computer"
      about={host && `Terrarium ${host.version} on ${host.platform}`}
      windowButtons={windowButtons}
      actions={<Button icon={ArrowsClockwise} refused={busy ? "The check is running." : undefined} onClick={() => void examine()}>Check again</Button>}
    >
      {host && (
        <dl className="kv" style={{ marginBottom: 24 }}>
          <dt>Processors</dt>
          <dd className="num">{host.cpus}</dd>
          <dt>Memory</dt>
          <dd className="num">{formatMiB(host.memoryAvailableMiB)} of {formatMiB(host.memoryTotalMiB)} free</dd>
          <dt>Disk</dt>
          <dd className="num">{formatBytes(host.diskFreeBytes)} free</dd>
          <dt>Machines in</dt>
          <dd className="mono">{host.home}</dd>
          <dt>Engines</dt>
          <dd>
            {host.engines.map((engine) => (
              <div key={engine.id}>
                {engine.label}{engine.version !== undefined && ` ${engine.version}`}
                <span className="faint">{engine.accelerator && ` on ${engine.accelerator.label}`}, {engine.available ? `up to ${plural(engine.capabilities.maxCpus, "processor")} and ${formatMiB(engine.capabilities.maxMemoryMiB)}` : (engine.problem?.message ?? "not available")}</span>
              </div>
            ))}
          </dd>
        </dl>
      )}
      <div aria-busy={busy}>
        <p className="s dim" role="status" style={{ marginBottom: 18 }}>{busy ? "Trying what works on this computer…" : checks && summary(checks)}</p>
        {grouped(checks ?? [], host?.engines ?? []).map(({ title, checks: members }) => (
          <section key={title} aria-label={title} style={{ marginBottom: 22 }}>
            <h2 className="h3">{title}</h2>
            <ul className="list">
              {members.map((check) => (
                <Check key={check.id} check={check} />
              ))}
            </ul>
          </section>
        ))}
      </div>
    </Page>
  );
}

function Check({ check }: { check: DoctorCheck }) {
  const { icon: Drawing, colour, word } = marks[check.status];
  return (
    <li>
      <span className="status"><Drawing className="ic" color={colour} role="img" aria-label={word} /></span>
      <div className="grow selectable">
        <div className="title">{check.title}</div>
        <div className="s dim" style={{ overflowWrap: "anywhere" }}>{check.detail}</div>
        {check.remedy !== undefined && <div className="s" style={{ marginTop: 2, overflowWrap: "anywhere" }}>{check.remedy}</div>}
      </div>
    </li>
  );
}
