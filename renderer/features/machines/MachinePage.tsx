import { CaretDown } from "@phosphor-icons/react/dist/csr/CaretDown";
import { CaretRight } from "@phosphor-icons/react/dist/csr/CaretRight";
import { DotsThree } from "@phosphor-icons/react/dist/csr/DotsThree";
import { lazy, memo, Suspense } from "react";
import type { MachineInfo } from "../../../core/contract/model";
import { call } from "../../api/client";
import { useJobs, useMachine } from "../../api/hooks";
import { Button } from "../../ui/Button";
import { formatDuration, formatWhen, stateNames } from "../../ui/format";
import { Menu, type MenuEntry } from "../../ui/Menu";
import { StateGlyph } from "../../ui/StateGlyph";
import { Tabs } from "../../ui/Tabs";
import { attempt } from "../../ui/toasts";
import { useNow } from "../../ui/useNow";
import { commands, refusalOf, runCommand, type CommandId } from "./commands";
import { Overview } from "./Overview";
import "./machines.css";

const Network = lazy(() => import("./network/Network"));
const Logs = lazy(() => import("./Logs"));
const Settings = lazy(() => import("./settings/Settings"));

export type MachineTab = "overview" | "network" | "logs" | "settings";
const tabs = [
  { id: "overview", label: "Overview" },
  { id: "network", label: "Network" },
  { id: "logs", label: "Logs" },
  { id: "settings", label: "Settings" },
] as const;

/** The selected machine: its name, its state, its commands, and its tabs. */
export const MachinePage = memo(function MachinePage({ id, tab, onTab, windowButtons }: { id: string; tab: MachineTab; onTab(tab: MachineTab): void; windowButtons: React.ReactNode }) {
  const machine = useMachine(id);
  if (!machine) return null;
  return (
    <>
      <div className="crumbs drag">
        <nav aria-label="Where you are" className="s dim">
          {machine.config?.group !== undefined && (
            <>
              <span className="trunc">{machine.config.group}</span>
              <CaretRight size={10} aria-hidden />
            </>
          )}
          <span aria-current="page" className="trunc">{machine.name}</span>
        </nav>
        {windowButtons}
      </div>
      <header className="machine-head">
        <h1 className="trunc selectable" title={machine.name}>{machine.name}</h1>
        <StateChip machine={machine} />
        <span className="grow" />
        <Toolbar machine={machine} />
      </header>
      <Tabs items={tabs} active={tab} onSelect={onTab} label={`Views of ${machine.name}`} idPrefix="machine" />
      <div role="tabpanel" id="machine-panel" aria-labelledby={`machine-tab-${tab}`} className="machine-panel">
        {tab === "overview" && <Overview machine={machine} onNetwork={() => onTab("network")} onLogs={() => onTab("logs")} />}
        <Suspense fallback={null}>
          {tab === "network" && <Network key={machine.id} machine={machine} onSettings={() => onTab("settings")} />}
          {tab === "logs" && <Logs key={machine.id} machine={machine} />}
          {tab === "settings" && <Settings key={machine.id} machine={machine} />}
        </Suspense>
      </div>
    </>
  );
});

function StateChip({ machine }: { machine: MachineInfo }) {
  const job = useJobs().find((other) => other.id === machine.jobId && other.state === "running");
  const since = machine.state === "running" ? (machine.startedAt ?? machine.since) : machine.since;
  const young = Date.now() - since < 60_000;
  const now = useNow(young ? 1_000 : 30_000);
  if (job) {
    return (
      <span className="chip job" role="status">
        <StateGlyph state={machine.state} decorative />
        <span className="trunc">{job.detail ?? job.title}</span>
        {job.progress !== undefined && <span className="num faint">{Math.round(job.progress * 100)} %</span>}
        {job.cancellable && (
          <button type="button" className="lk" onClick={() => void attempt(() => call("job.cancel", { id: job.id }), machine.name)}>
            Cancel
          </button>
        )}
      </span>
    );
  }
  const moving = machine.state === "running" || machine.state === "paused" || machine.state === "starting" || machine.state === "stopping";
  return (
    <span className={`chip state ${machine.state}`}>
      <StateGlyph state={machine.state} decorative breathing />
      {machine.unresponsive ? "Not responding" : stateNames[machine.state]}
      <span className="num since">{moving ? formatDuration(now - since) : formatWhen(since, now)}</span>
    </span>
  );
}

/** One filled button: the thing most people want next. */
function Toolbar({ machine }: { machine: MachineInfo }) {
  const startable = refusalOf("start", machine) === undefined || machine.state === "off" || machine.state === "saved" || machine.state === "crashed";
  const primary: CommandId = machine.state === "paused" ? "resume" : startable ? "start" : "openConsole";
  const consolePrimary = primary === "openConsole" && refusalOf("openConsole", machine) === undefined;
  const pausing: CommandId = machine.state === "paused" ? "resume" : "pause";
  return (
    <div className="toolbar" role="toolbar" aria-label={`Commands for ${machine.name}`}>
      {startable && <CommandButton id="start" machine={machine} primary />}
      {machine.state === "paused" && <CommandButton id="resume" machine={machine} primary />}
      <CommandButton id="openConsole" machine={machine} primary={consolePrimary} />
      <div className="grp">
        {pausing === "pause" && <CommandButton id="pause" machine={machine} />}
        <CommandButton id="save" machine={machine} />
        <CommandButton id="shutdown" machine={machine} />
        <Menu
          label="Harder ways to end it"
          align="right"
          entries={[entry("powerOff", machine), entry("reset", machine)]}
          trigger={(props) => (
            <button type="button" className="btn caret" aria-label="More ways to end or restart it" {...props}>
              <CaretDown size={12} aria-hidden />
            </button>
          )}
        />
      </div>
      <Menu
        label={`More for ${machine.name}`}
        align="right"
        entries={[
          { ...entry("rename", machine), keys: "F2" },
          entry("screenshot", machine),
          entry("showFolder", machine),
          ...(machine.state === "saved" ? [entry("discardSaved", machine)] : []),
          null,
          { ...entry("delete", machine), keys: "Del" },
        ]}
        trigger={(props) => <Button icon={DotsThree} aria-label="More commands" {...props} />}
      />
    </div>
  );
}

function CommandButton({ id, machine, primary = false }: { id: CommandId; machine: MachineInfo; primary?: boolean }) {
  const { label, icon } = commands[id];
  const refused = refusalOf(id, machine);
  return (
    <Button look={primary && refused === undefined ? "primary" : "plain"} icon={icon} iconFilled={id === "start" || id === "resume"} refused={refused} onClick={() => void runCommand(id, machine)}>
      {label}
    </Button>
  );
}

function entry(id: CommandId, machine: MachineInfo): MenuEntry {
  const { label, icon, danger } = commands[id];
  return { label, icon, danger: danger ?? false, refused: refusalOf(id, machine), run: () => void runCommand(id, machine) };
}
