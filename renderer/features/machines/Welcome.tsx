import { Disc } from "@phosphor-icons/react/dist/csr/Disc";
import { HardDrive } from "@phosphor-icons/react/dist/csr/HardDrive";
import { Play } from "@phosphor-icons/react/dist/csr/Play";
import { useState } from "react";
import { call, desktop } from "../../api/client";
import { useHost } from "../../api/hooks";
import { Button } from "../../ui/Button";
import { formatMiB } from "../../ui/format";
import { Problem } from "../../ui/Problem";
import { toasts } from "../../ui/toasts";
import "./welcome.css";

const starterName = "Linux";
const starterMemoryMiB = 256;
const starterDiskBytes = 2 * 1024 ** 3;

/** The first run: one button to a running machine, and two other ways in. */
export function Welcome({ onWizard, onCreated }: { onWizard(source: "iso" | "disk"): void; onCreated(id: string): void }) {
  const host = useHost();
  const [stage, setStage] = useState<string | undefined>();
  const missing = host && !host.starter.ready ? host.starter.problem : undefined;

  const grow = async (): Promise<void> => {
    setStage("Creating the machine");
    try {
      const nat = host?.networkModes.some(({ mode, available }) => mode === "nat" && available) ?? false;
      const { id, job } = await call("machine.create", {
        spec: {
          name: starterName,
          memoryMiB: starterMemoryMiB,
          boot: { kind: "starter" },
          disks: [{ sizeBytes: starterDiskBytes }],
          adapters: [{ attachment: { mode: nat ? "nat" : "none" } }],
        },
      });
      const created = await call("job.wait", { id: job.id });
      // The job's own message tells why; the notice of a failed job shows it.
      if (created.state !== "done") return;
      onCreated(id);
      setStage("Starting it");
      await call("machine.start", { id });
      await desktop.openConsole(id);
    } catch (error) {
      toasts.showError(error, starterName);
    } finally {
      setStage(undefined);
    }
  };

  return (
    <div className="welcome">
      <Jar />
      <div className="welcome-text">
        <h1>Grow your first machine</h1>
        <p className="dim lead">A machine is a whole computer behind glass. Nothing in it touches your host unless you plug it in.</p>
        {missing ? (
          <Problem level="warning" message={missing.message} remedy={missing.remedy} />
        ) : (
          <button type="button" className="grow-button" aria-disabled={stage !== undefined || undefined} onClick={() => stage === undefined && void grow()}>
            <Play className="ic l" weight="fill" aria-hidden />
            <span>
              <b>Start a Linux machine now</b>
              <small aria-live="polite">{stage ?? `Running in a few seconds, ${formatMiB(starterMemoryMiB)}, nothing to install`}</small>
            </span>
          </button>
        )}
        <div className="row" style={{ gap: 8, marginTop: 16, flexWrap: "wrap" }}>
          <Button icon={Disc} onClick={() => onWizard("iso")}>Install from ISO</Button>
          <Button icon={HardDrive} onClick={() => onWizard("disk")}>Use a disk image</Button>
        </div>
      </div>
    </div>
  );
}

/** A seedling behind glass: its stem is a plug. */
function Jar() {
  return (
    <div className="jar" aria-hidden="true">
      <svg viewBox="0 0 430 270">
        <rect width="430" height="270" fill="var(--jar)" />
        <path d="M0 206C80 196 140 212 220 202S360 196 430 206V270H0Z" fill="var(--soil-2)" />
        <path d="M0 236C100 226 180 244 270 232S390 230 430 238V270H0Z" fill="var(--soil-1)" />
        <g className="plant">
          <path d="M215 204V164M215 166V146" stroke="var(--run)" strokeWidth="5" strokeLinecap="round" />
          <rect x="206" y="112" width="18" height="34" rx="2" fill="var(--leaf-light)" />
          <path d="M215 182c0-17-11-27-32-27 0 17 12 27 32 27Z" fill="var(--run)" />
          <path d="M215 172c0-17 11-27 33-27 0 18-12 27-33 27Z" fill="var(--leaf-light)" />
        </g>
        <path d="M215 204c-9 12-26 11-40 24M215 204c3 14-3 22-1 36M215 204c10 11 26 10 38 22" stroke="var(--run)" strokeWidth="2" fill="none" strokeLinecap="round" opacity=".75" />
        <rect x="8.5" y="8.5" width="413" height="253" rx="13" fill="none" stroke="var(--glass-hi)" opacity=".55" />
      </svg>
    </div>
  );
}
