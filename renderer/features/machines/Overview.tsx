import { Copy } from "@phosphor-icons/react/dist/csr/Copy";
import { useState } from "react";
import type { AcceleratorInfo, MachineConfig, MachineInfo } from "../../../core/contract/model";
import { refusal } from "../../../core/contract/states";
import { call, desktop } from "../../api/client";
import { useSystems } from "../../api/hooks";
import { Button } from "../../ui/Button";
import { formatBytes } from "../../ui/format";
import { attachmentName, networkColours, networkNames } from "../../ui/network/modes";
import { Toggle } from "../../ui/Toggle";
import { attempt, toasts } from "../../ui/toasts";
import { agentText, disksText, engineName, fileName, guestName, hardwareText, loginText, originText, systemText } from "./describe";
import { GuestMemory } from "./GuestMemory";
import { LatestEvents } from "./LatestEvents";
import { Preview } from "./Preview";
import { Trouble } from "./Trouble";
import { UsageCharts } from "./UsageCharts";

/** What a machine is and does, at a glance. */
export function Overview({ machine, onNetwork, onLogs }: { machine: MachineInfo; onNetwork(): void; onLogs(): void }) {
  const { config } = machine;
  return (
    <div className="overview">
      <section className="stage-column" aria-label="Screen">
        <Trouble machine={machine} onLogs={onLogs} />
        {machine.state !== "broken" && (
          <div className="world">
            <Preview key={machine.id} machine={machine} />
            {config && <Soil machine={machine} config={config} />}
          </div>
        )}
        <UsageCharts machine={machine} />
        <LatestEvents machine={machine} onAll={onLogs} />
      </section>
      <aside className="facts" aria-label="Facts">
        <Facts machine={machine} />
        {config && <GuestMemory key={`${machine.id} ${machine.startedAt}`} machine={machine} config={config} />}
        {config && <Adapters machine={machine} config={config} onNetwork={onNetwork} />}
        {config && <Notes key={machine.id} machine={machine} notes={config.notes ?? ""} />}
      </aside>
    </div>
  );
}

/** The disks as ground under the glass: how much of what the guest sees is really on the host. */
function Soil({ machine, config }: { machine: MachineInfo; config: MachineConfig }) {
  const total = config.disks.reduce((sum, disk) => sum + disk.sizeBytes, 0);
  if (total === 0) return null;
  const used = machine.hostBytes === undefined ? undefined : Math.min(1, machine.hostBytes / total);
  return (
    <>
      <div className="soil" aria-hidden="true">
        {config.disks.map((disk) => (
          <span key={disk.id} style={{ flexGrow: disk.sizeBytes }} />
        ))}
        {used !== undefined && <i style={{ width: `max(2px, ${used * 100}%)` }} />}
      </div>
      <div className="soil-legend xs">
        {config.disks.map((disk) => (
          <span key={disk.id} className="num">
            {disk.id} {formatBytes(disk.sizeBytes)}
          </span>
        ))}
        <span className="grow" />
        {machine.hostBytes !== undefined && (
          <span className="faint num">
            <i className="swatch" /> {formatBytes(machine.hostBytes)} on the host
          </span>
        )}
      </div>
    </>
  );
}

function Facts({ machine }: { machine: MachineInfo }) {
  const { config, engine, guest } = machine;
  const systems = useSystems();
  const drive = config?.drives[0];
  const system = config && systemText(config, systems);
  const login = config && loginText(config);
  return (
    <dl className="kv">
      {config && <Fact name="Guest">{guestName(machine)}</Fact>}
      {guest.hostname !== undefined && <Fact name="Host name"><span className="mono">{guest.hostname}</span></Fact>}
      {system !== undefined && <Fact name="System">{system}</Fact>}
      {login !== undefined && <Fact name="First login"><span className="selectable">{login}</span></Fact>}
      {engine && (
        <Fact name="Engine">
          {engineName(engine)}
          {config?.engine === "auto" && <span className="faint">, chosen for you</span>}
        </Fact>
      )}
      {engine?.accelerator && (
        <Fact name="Accelerator">
          <Accelerator {...engine.accelerator} />
        </Fact>
      )}
      {config && <Fact name="Hardware">{hardwareText(config)}</Fact>}
      {config && (
        <Fact name={config.disks.length > 1 ? "Disks" : "Disk"}>
          {disksText(config)}
          {machine.hostBytes !== undefined && <span className="faint">, {formatBytes(machine.hostBytes)} on the host</span>}
        </Fact>
      )}
      {drive && <Fact name="CD drive">{drive.medium === null ? "empty" : <span title={drive.medium}>{fileName(drive.medium)}</span>}</Fact>}
      {config && <Fact name="Guest agent">{agentText(guest)}</Fact>}
      {machine.startedFrom && machine.state !== "off" && <Fact name="Started">{originText(machine.startedFrom)}</Fact>}
      <Fact name="Folder">
        <span className="row" style={{ gap: 6 }}>
          <span className="mono trunc" title={machine.folder}>{fileName(machine.folder)}</span>
          <CopyButton text={machine.folder} what="the folder's path" about={machine.name} />
        </span>
      </Fact>
    </dl>
  );
}

/** What executes the guest's instructions; when that is slow, why, and what would make it fast. */
function Accelerator({ label, fast, reason, remedy }: AcceleratorInfo) {
  if (fast) return <>{label}</>;
  return (
    <>
      {label}
      <span className="slow">slow</span>
      {reason !== undefined && <div className="s dim" style={{ marginTop: 2 }}>{reason}</div>}
      {remedy !== undefined && <div className="s" style={{ marginTop: 2 }}>{remedy}</div>}
    </>
  );
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

function CopyButton({ text, what, about }: { text: string; what: string; about: string }) {
  return (
    <Button
      small
      look="quiet"
      className="tiny"
      icon={Copy}
      aria-label={`Copy ${what}`}
      onClick={() => void attempt(async () => {
        await desktop.copyText(text);
        toasts.show({ level: "info", about, message: `Copied ${text}` });
      }, about)}
    />
  );
}

function Adapters({ machine, config, onNetwork }: { machine: MachineInfo; config: MachineConfig; onNetwork(): void }) {
  const refused = refusal("setLink", machine);
  return (
    <section className="fact-section">
      <div className="row section-head">
        <h2 className="h3 grow">Adapters</h2>
        <button type="button" className="lk" onClick={onNetwork}>Change</button>
      </div>
      {config.adapters.length === 0 && <p className="s faint">No network card. One can be added in the settings.</p>}
      {config.adapters.map((adapter, index) => {
        const { mode } = adapter.attachment;
        const connected = mode !== "none" && adapter.plugged;
        const address = machine.guest.addresses.find((entry) => entry.adapter === index)?.address ?? machine.network?.find((entry) => entry.adapter === index)?.address;
        return (
          <div className="adapter" key={adapter.mac}>
            <AdapterDrawing colour={networkColours[mode]} connected={connected} sealed={mode === "internal"} />
            <div className="grow">
              <div className="row" style={{ gap: 6 }}>
                <span className="mono dim">net{index}</span>
                <span className="trunc" style={{ fontWeight: 550 }}>{attachmentName(adapter.attachment)}</span>
                {adapter.attachment.network !== undefined && <span className="xs faint">{networkNames[mode]}</span>}
              </div>
              <div className="mono faint trunc" style={{ lineHeight: "15px" }}>{address ?? adapter.mac}</div>
            </div>
            {mode === "none" ? (
              <span className="xs faint">no cable</span>
            ) : (
              <Toggle
                label={`Cable of adapter net${index}`}
                checked={adapter.plugged}
                refused={refused}
                onChange={(up) => void attempt(() => call("machine.setLink", { id: machine.id, adapter: index, up }), machine.name)}
              />
            )}
          </div>
        );
      })}
    </section>
  );
}

function AdapterDrawing({ colour, connected, sealed }: { colour: string; connected: boolean; sealed: boolean }) {
  return (
    <svg width="26" height="26" viewBox="0 0 26 26" style={{ flex: "none" }} aria-hidden="true">
      <rect x="5" y="9" width="16" height="12" rx="2.5" fill="none" stroke="var(--ink-3)" strokeWidth="1.3" />
      <path d="M9 21v-4M13 21v-4M17 21v-4" stroke="var(--ink-3)" strokeWidth="1.3" />
      {connected ? (
        <path d="M13 9V1" stroke={colour} strokeWidth="2.4" strokeLinecap="round" strokeDasharray={sealed ? "3 3" : undefined} />
      ) : (
        <path d="M10.6 1.600l4.800 4.800M15.400 1.600l-4.800 4.800" stroke="var(--off)" strokeWidth="1.600" strokeLinecap="round" />
      )}
    </svg>
  );
}

function Notes({ machine, notes }: { machine: MachineInfo; notes: string }) {
  const [draft, setDraft] = useState<string | undefined>();
  const save = async (): Promise<void> => {
    if (draft !== undefined && draft !== notes) await attempt(() => call("machine.set", { id: machine.id, patch: { notes: draft } }), machine.name);
    setDraft(undefined);
  };
  return (
    <section className="fact-section">
      <div className="row section-head">
        <h2 className="h3 grow">Notes</h2>
        {draft === undefined && (
          <button type="button" className="lk" onClick={() => setDraft(notes)}>
            {notes === "" ? "Write" : "Edit"}
          </button>
        )}
      </div>
      {draft === undefined ? (
        <p className={notes === "" ? "s faint" : "notes-text s dim selectable"}>{notes === "" ? "What this machine is for, how to log in." : notes}</p>
      ) : (
        <>
          <textarea
            className="input"
            aria-label={`Notes on ${machine.name}`}
            value={draft}
            rows={5}
            maxLength={20_000}
            autoFocus
            onChange={(event) => setDraft(event.target.value)}
            onKeyDown={(event) => {
              if (event.key === "Escape") setDraft(undefined);
              if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void save();
            }}
          />
          <div className="row" style={{ gap: 8, marginTop: 8, justifyContent: "flex-end" }}>
            <Button small onClick={() => setDraft(undefined)}>Cancel</Button>
            <Button small onClick={() => void save()}>Save notes</Button>
          </div>
        </>
      )}
    </section>
  );
}
