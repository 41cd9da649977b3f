import Dialog from "@mui/material/Dialog";
import type { Icon } from "@phosphor-icons/react";
import { Desktop } from "@phosphor-icons/react/dist/csr/Desktop";
import { GearSix } from "@phosphor-icons/react/dist/csr/GearSix";
import { MagnifyingGlass } from "@phosphor-icons/react/dist/csr/MagnifyingGlass";
import { Plus } from "@phosphor-icons/react/dist/csr/Plus";
import { Network } from "@phosphor-icons/react/dist/csr/Network";
import { Pulse } from "@phosphor-icons/react/dist/csr/Pulse";
import { SidebarSimple } from "@phosphor-icons/react/dist/csr/SidebarSimple";
import { Trash } from "@phosphor-icons/react/dist/csr/Trash";
import { useMemo, useState, type KeyboardEvent, type ReactNode } from "react";
import type { MachineInfo } from "../../core/contract/model";
import { useMachines } from "../api/hooks";
import { commands, refusalOf, runCommand, type CommandId } from "../features/machines/commands";
import { stateNames } from "../ui/format";
import { StateGlyph } from "../ui/StateGlyph";
import { rank } from "./rank";
import type { Navigation } from "./navigation";

interface Entry {
  readonly key: string;
  readonly label: string;
  /** Searched beside the label. */
  readonly also: string;
  readonly note: string;
  readonly mark: ReactNode;
  run(): void;
}

const mostShown = 40;

/** Machines, what can be done with them now, and everything else: found by typing. */
export default function Palette({ navigation, selected, onClose }: { navigation: Navigation; selected: MachineInfo | undefined; onClose(): void }) {
  const machines = useMachines();
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const entries = useMemo(() => entriesOf(machines?.values() ?? [], selected, navigation), [machines, selected, navigation]);
  const found = useMemo(() => rank(entries, text, (entry) => `${entry.label} ${entry.also}`).slice(0, mostShown), [entries, text]);
  const chosen = Math.min(at, found.length - 1);

  const run = (entry: Entry | undefined): void => {
    if (!entry) return;
    onClose();
    entry.run();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined && found.length > 0) {
      event.preventDefault();
      const next = (chosen + step + found.length) % found.length;
      setAt(next);
      document.getElementById(`palette-${next}`)?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter") {
      event.preventDefault();
      run(found[chosen]);
    }
  };
  return (
    <Dialog open onClose={onClose} slotProps={{ paper: { className: "palette", "aria-label": "Search or run" } }} sx={{ "& .MuiDialog-container": { alignItems: "flex-start" } }}>
      <div className="palette-field">
        <MagnifyingGlass className="ic" aria-hidden />
        <input
          autoFocus
          role="combobox"
          aria-expanded="true"
          aria-controls="palette-list"
          aria-activedescendant={found.length > 0 ? `palette-${chosen}` : undefined}
          aria-label="Search or run"
          placeholder="A machine, or what to do"
          value={text}
          spellCheck={false}
          onChange={(event) => {
            setText(event.target.value);
            setAt(0);
          }}
          onKeyDown={onKeyDown}
        />
        <span className="kbd">Esc</span>
      </div>
      <div id="palette-list" role="listbox" aria-label="Found" className="palette-list">
        {found.map((entry, index) => (
          <div key={entry.key} id={`palette-${index}`} role="option" aria-selected={index === chosen} className="palette-entry" onMouseMove={() => setAt(index)} onClick={() => run(entry)}>
            <span className="mark">{entry.mark}</span>
            <span className="trunc">{entry.label}</span>
            <span className="grow" />
            <span className="s faint trunc">{entry.note}</span>
          </div>
        ))}
      </div>
      {found.length === 0 && <p className="faint" style={{ padding: "14px 18px" }} role="status">Nothing is called “{text}”.</p>}
    </Dialog>
  );
}

function entriesOf(machines: Iterable<MachineInfo>, selected: MachineInfo | undefined, navigation: Navigation): Entry[] {
  const all = [...machines];
  const legal = (machine: MachineInfo): Entry[] =>
    (Object.keys(commands) as CommandId[])
      .filter((id) => refusalOf(id, machine) === undefined)
      .map((id) => ({
        key: `${machine.id} ${id}`,
        label: `${commands[id].label}: ${machine.name}`,
        also: machine.config?.group ?? "",
        note: "",
        mark: icon(commands[id].icon),
        run: () => void runCommand(id, machine),
      }));
  const go = (key: string, label: string, drawing: Icon, note: string, run: () => void): Entry => ({ key, label, also: "", note, mark: icon(drawing), run });
  return [
    ...(selected ? legal(selected) : []),
    ...all.map((machine) => ({
      key: machine.id,
      label: machine.name,
      also: `${machine.config?.group ?? ""} ${machine.guest.addresses.map(({ address }) => address).join(" ")}`,
      note: stateNames[machine.state],
      mark: <StateGlyph state={machine.state} decorative />,
      run: () => navigation.show({ kind: "machine", id: machine.id }),
    })),
    go("new", "New machine", Plus, "Ctrl N", () => navigation.openWizard()),
    go("networks", "Networks", Network, "page", () => navigation.show({ kind: "networks" })),
    go("activity", "Activity", Pulse, "page", () => navigation.show({ kind: "activity" })),
    go("trash", "Trash", Trash, "page", () => navigation.show({ kind: "trash" })),
    go("host", "This computer", Desktop, "page", () => navigation.show({ kind: "host" })),
    go("preferences", "Preferences", GearSix, "Ctrl ,", () => navigation.show({ kind: "preferences" })),
    go("sidebar", "Narrow or widen the sidebar", SidebarSimple, "Ctrl B", navigation.toggleSidebar),
    ...all.filter((machine) => machine.id !== selected?.id).flatMap(legal),
  ];
}

function icon(Drawing: Icon): ReactNode {
  return <Drawing className="ic" aria-hidden />;
}
