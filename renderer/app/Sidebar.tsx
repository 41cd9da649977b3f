import type { Icon } from "@phosphor-icons/react";
import { Desktop } from "@phosphor-icons/react/dist/csr/Desktop";
import { Cpu } from "@phosphor-icons/react/dist/csr/Cpu";
import { GearSix } from "@phosphor-icons/react/dist/csr/GearSix";
import { MagnifyingGlass } from "@phosphor-icons/react/dist/csr/MagnifyingGlass";
import { Moon } from "@phosphor-icons/react/dist/csr/Moon";
import { Network } from "@phosphor-icons/react/dist/csr/Network";
import { Plus } from "@phosphor-icons/react/dist/csr/Plus";
import { Pulse } from "@phosphor-icons/react/dist/csr/Pulse";
import { SidebarSimple } from "@phosphor-icons/react/dist/csr/SidebarSimple";
import { Sun } from "@phosphor-icons/react/dist/csr/Sun";
import { CircleHalf } from "@phosphor-icons/react/dist/csr/CircleHalf";
import { Trash } from "@phosphor-icons/react/dist/csr/Trash";
import { memo, useRef, useState, type ReactNode } from "react";
import { useHost, useJobs, useMachineCount, useNotices, usePreferences, useStore, useTrash } from "../api/hooks";
import { MachineList } from "../features/machines/MachineList";
import { Button } from "../ui/Button";
import { formatMiB } from "../ui/format";
import { Logo } from "../ui/Logo";
import { Menu } from "../ui/Menu";
import { attempt } from "../ui/toasts";
import type { Navigation, View } from "./navigation";

const listId = "machine-list";

/** The left side: the machines, the ways to everything else, and how the host stands. */
export const Sidebar = memo(function Sidebar({ view, navigation, onSelect, collapsed }: { view: View; navigation: Navigation; onSelect(id: string): void; collapsed: boolean }) {
  const empty = useMachineCount() === 0;
  const [filter, setFilter] = useState("");
  const field = useRef<HTMLInputElement>(null);
  const selected = view.kind === "machine" ? view.id : undefined;

  return (
    <aside className={collapsed ? "sidebar collapsed" : "sidebar"} aria-label="Machines and pages">
      <div className="side-top drag">
        <Logo />
        {!collapsed && <b className="brand">Terrarium</b>}
        {!collapsed && <span className="grow" />}
        <Button small look="quiet" icon={SidebarSimple} aria-label={collapsed ? "Widen the sidebar" : "Narrow the sidebar"} onClick={navigation.toggleSidebar} />
        <Button small icon={Plus} aria-label="New machine" tip="New machine (Ctrl+N)" onClick={() => navigation.openWizard()} />
      </div>
      {collapsed ? (
        <div className="side-search">
          <Button look="quiet" icon={MagnifyingGlass} aria-label="Search or run" tip="Search or run (Ctrl+K)" onClick={navigation.openPalette} />
        </div>
      ) : (
        <div className="side-search">
          <div className="search-field" onClick={() => field.current?.focus()}>
            <MagnifyingGlass className="ic xs" aria-hidden />
            <input
              ref={field}
              type="search"
              aria-label="Search the machines"
              placeholder="Search"
              value={filter}
              spellCheck={false}
              onChange={(event) => setFilter(event.target.value)}
              onKeyDown={(event) => {
                if (event.key === "Escape") setFilter("");
                if (event.key === "ArrowDown") {
                  event.preventDefault();
                  document.querySelector<HTMLElement>(`#${listId} [role=tree]`)?.focus();
                }
              }}
            />
            <button type="button" className="kbd" aria-label="Search or run a command, Ctrl K" onClick={navigation.openPalette}>Ctrl K</button>
          </div>
        </div>
      )}
      <div id={listId} className="side-list">
        {empty ? !collapsed && <Ghosts /> : <MachineList selected={selected} onSelect={onSelect} filter={collapsed ? "" : filter} narrow={collapsed} />}
      </div>
      <nav className="side-nav" aria-label="Pages">
        <NavItem icon={Network} label="Networks" on={view.kind === "networks"} collapsed={collapsed} onClick={() => navigation.show({ kind: "networks" })} />
        <NavItem icon={Pulse} label="Activity" on={view.kind === "activity"} collapsed={collapsed} onClick={() => navigation.show({ kind: "activity" })} note={<ActivityNote />} />
        <NavItem icon={Trash} label="Trash" on={view.kind === "trash"} collapsed={collapsed} onClick={() => navigation.show({ kind: "trash" })} note={<TrashNote />} />
        <NavItem icon={Desktop} label="This computer" on={view.kind === "host"} collapsed={collapsed} onClick={() => navigation.show({ kind: "host" })} />
        <NavItem icon={GearSix} label="Preferences" on={view.kind === "preferences"} collapsed={collapsed} onClick={() => navigation.show({ kind: "preferences" })} />
      </nav>
      <StatusLine collapsed={collapsed} />
    </aside>
  );
});

function NavItem({ icon: Drawing, label, on, collapsed, onClick, note }: { icon: Icon; label: string; on: boolean; collapsed: boolean; onClick(): void; note?: ReactNode }) {
  return (
    <button type="button" className={on ? "nav on" : "nav"} aria-current={on ? "page" : undefined} aria-label={collapsed ? label : undefined} title={collapsed ? label : undefined} onClick={onClick}>
      <Drawing className="ic" aria-hidden />
      {!collapsed && <span className="grow">{label}</span>}
      {!collapsed && note}
    </button>
  );
}

/** The running job with its progress, else how many notices wait. */
function ActivityNote() {
  const jobs = useJobs().filter((job) => job.state === "running");
  const notices = useNotices().length;
  const [job] = jobs;
  if (!job) return notices > 0 ? <span className="s faint num">{notices}</span> : null;
  const known = job.progress !== undefined;
  return (
    <>
      <span className={known ? "progress" : "progress unknown"} style={{ width: 40 }} aria-hidden="true">
        <i style={known ? { width: `${job.progress! * 100}%` } : undefined} />
      </span>
      <span className="s dim num trunc" style={{ maxWidth: 84 }}>{jobs.length > 1 ? `${jobs.length} jobs` : known ? `${Math.round(job.progress! * 100)} %` : "working"}</span>
    </>
  );
}

function TrashNote() {
  const count = useTrash().length;
  return count > 0 ? <span className="s faint num">{count}</span> : null;
}

function StatusLine({ collapsed }: { collapsed: boolean }) {
  const host = useHost();
  const { theme } = usePreferences();
  const store = useStore();
  const ready = (host?.engines ?? []).filter((engine) => engine.available);
  const words = !host ? "" : ready.length > 1 ? `${ready.length} engines ready` : ready[0] ? `${ready[0].label} ready` : "No engine ready";
  const drawings = { system: CircleHalf, dark: Moon, light: Sun } as const;
  const choices = [
    { id: "system", label: "As the system" },
    { id: "dark", label: "Dark" },
    { id: "light", label: "Light" },
  ] as const;
  return (
    <div className="status-line">
      {!collapsed && <Cpu className="ic xs" aria-hidden />}
      {!collapsed && <span className="trunc">{words}</span>}
      {!collapsed && <span className="grow" />}
      {!collapsed && host && (
        <span className="num" title={`${formatMiB(host.memoryAvailableMiB)} of ${formatMiB(host.memoryTotalMiB)} of memory are free`}>
          {formatMiB(host.memoryAvailableMiB)} free
        </span>
      )}
      <Menu
        label="Theme"
        entries={choices.map(({ id, label }) => ({ label, icon: drawings[id], selected: theme === id, run: () => void attempt(() => store.setPreferences({ theme: id })) }))}
        trigger={(props) => <Button small look="quiet" className="tiny" icon={drawings[theme]} aria-label={`Theme: ${choices.find(({ id }) => id === theme)?.label}`} {...props} />}
      />
    </div>
  );
}

/** What will stand in the list, before there is anything. */
function Ghosts() {
  return (
    <div style={{ padding: "4px 10px" }}>
      {[
        [92, 64, 1],
        [70, 84, 0.6],
        [84, 52, 0.3],
      ].map(([first, second, opacity]) => (
        <div className="ghost" key={first} style={{ opacity }} aria-hidden="true">
          <i />
          <div>
            <u style={{ width: first }} />
            <u style={{ width: second }} />
          </div>
        </div>
      ))}
      <p className="s faint" style={{ padding: "10px 8px", lineHeight: "17px" }}>Your machines will live here, each with its screen, state and address.</p>
    </div>
  );
}
