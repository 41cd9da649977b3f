import { CaretDown } from "@phosphor-icons/react/dist/csr/CaretDown";
import { memo, useEffect, useLayoutEffect, useMemo, useRef, useState, type KeyboardEvent } from "react";
import type { MachineInfo } from "../../../core/contract/model";
import { useMachines, useStore } from "../../api/hooks";
import { stateNames } from "../../ui/format";
import { StateGlyph } from "../../ui/StateGlyph";
import { useNow } from "../../ui/useNow";
import { mainCommand, runCommand, type CommandId } from "./commands";
import { rowNote } from "./describe";
import { ThumbnailFeed } from "./thumbnails";
import { layOut, rowsWithin, type ListRow } from "./windowing";
import "./machines.css";

/** Rows drawn beyond the edges, so that scrolling meets no blank: pixels. */
const overscan = 200;
const keyCommands: Readonly<Record<string, CommandId>> = { Delete: "delete", F2: "rename" };

/** The machines as a tree of groups. Only what is in view exists in the page: two hundred cost as much as twenty. */
export const MachineList = memo(function MachineList({ selected, onSelect, filter, narrow }: { selected: string | undefined; onSelect(id: string): void; filter: string; narrow: boolean }) {
  const machines = useMachines();
  const store = useStore();
  const now = useNow(30_000);
  const [folded, setFolded] = useState<ReadonlySet<string>>(new Set());
  const [focused, setFocused] = useState<string | undefined>();
  const { rows, height } = useMemo(() => layOut(machines?.values() ?? [], narrow ? new Set() : folded, filter), [machines, folded, filter, narrow]);
  const scroller = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  const feed = useMemo(() => new ThumbnailFeed((id) => store.machines.get()?.get(id)), [store]);
  useEffect(() => () => feed.dispose(), [feed]);

  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element) return undefined;
    const measure = (): void =>
      setView((before) => {
        // In steps, so that a scrolled pixel does not draw the list again.
        const top = Math.floor(element.scrollTop / 96) * 96;
        return before.top === top && before.height === element.clientHeight ? before : { top, height: element.clientHeight };
      });
    measure();
    const resizing = new ResizeObserver(measure);
    resizing.observe(element);
    element.addEventListener("scroll", measure, { passive: true });
    return () => {
      resizing.disconnect();
      element.removeEventListener("scroll", measure);
    };
  }, []);

  const active = focused ?? selected;
  const shown = rowsWithin(rows, view.top - overscan, view.top + view.height + 96 + overscan);

  const reveal = (row: ListRow): void => {
    const element = scroller.current;
    if (!element) return;
    if (row.top < element.scrollTop) element.scrollTop = row.top;
    else if (row.top + row.height > element.scrollTop + element.clientHeight) element.scrollTop = row.top + row.height - element.clientHeight;
  };
  useEffect(() => {
    const row = rows.find((other) => other.key === selected);
    if (row) reveal(row);
    // Only a new choice scrolls; a change of a machine must not move the list under the pointer.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [selected]);

  const goTo = (row: ListRow | undefined): void => {
    if (!row) return;
    setFocused(row.key);
    reveal(row);
    if (row.kind === "machine") onSelect(row.machine.id);
  };
  const fold = (group: string, folds: boolean): void =>
    setFolded((before) => {
      const after = new Set(before);
      if (folds) after.add(group);
      else after.delete(group);
      return after;
    });

  const onKeyDown = (event: KeyboardEvent): void => {
    const at = rows.findIndex((row) => row.key === active);
    const row = rows[at];
    const handled = ((): boolean => {
      switch (event.key) {
        case "ArrowDown":
          goTo(rows[Math.min(rows.length - 1, at + 1)]);
          return true;
        case "ArrowUp":
          goTo(rows[Math.max(0, at - 1)]);
          return true;
        case "PageDown":
          goTo(rows[Math.min(rows.length - 1, at + 8)]);
          return true;
        case "PageUp":
          goTo(rows[Math.max(0, at - 8)]);
          return true;
        case "Home":
          goTo(rows[0]);
          return true;
        case "End":
          goTo(rows.at(-1));
          return true;
        case "ArrowLeft":
        case "ArrowRight":
          if (row?.kind !== "group") return false;
          fold(row.group, event.key === "ArrowLeft");
          return true;
        case "Enter":
        case " ":
          if (row?.kind === "group") fold(row.group, !row.folded);
          else if (row && event.key === "Enter") void runCommand(mainCommand(row.machine), row.machine);
          else return false;
          return true;
        default: {
          const command = keyCommands[event.key];
          if (!command || row?.kind !== "machine") return false;
          void runCommand(command, row.machine);
          return true;
        }
      }
    })();
    if (handled) event.preventDefault();
  };

  return (
    <div
      ref={scroller}
      className={narrow ? "machine-list narrow" : "machine-list"}
      role="tree"
      aria-label="Machines"
      tabIndex={0}
      aria-activedescendant={shown.some((row) => row.key === active) ? rowId(active!) : undefined}
      onKeyDown={onKeyDown}
      onBlur={() => setFocused(undefined)}
    >
      <div role="none" style={{ position: "relative", height }}>
        {shown.map((row) =>
          row.kind === "group" ? (
            <div
              key={row.key}
              id={rowId(row.key)}
              role="treeitem"
              aria-level={1}
              aria-expanded={!row.folded}
              aria-selected={false}
              className={row.key === focused ? "group-head focused" : "group-head"}
              style={{ top: row.top }}
              onClick={() => fold(row.group, !row.folded)}
            >
              <CaretDown size={11} aria-hidden style={row.folded ? { transform: "rotate(-90deg)" } : undefined} />
              <span className="trunc grow">{row.group === "" ? "Other machines" : row.group}</span>
              {row.running > 0 && <span className="count">{row.running} running</span>}
            </div>
          ) : (
            <MachineRow
              key={row.key}
              machine={row.machine}
              top={row.top}
              level={row.machine.config?.group === undefined ? 1 : 2}
              selected={row.key === selected}
              focused={row.key === active}
              note={rowNote(row.machine, now)}
              feed={feed}
              onSelect={onSelect}
            />
          ),
        )}
      </div>
      {rows.length === 0 && filter !== "" && <p className="s faint" style={{ padding: "10px 8px" }}>No machine matches “{filter}”.</p>}
    </div>
  );
});

/** How a thumbnail is lit: what does not run is dim. */
const lights: Readonly<Record<MachineInfo["state"], string>> = (() => {
  const paused = "saturate(0.25) brightness(0.62)";
  const still = "saturate(0.2) brightness(0.5)";
  const on = "none";
  return { off: still, saved: still, crashed: still, broken: still, paused, starting: on, running: on, saving: on, stopping: on };
})();

function rowId(key: string): string {
  return `machine-row-${key.replaceAll(/[^\w-]/g, "_")}`;
}

interface RowProps {
  machine: MachineInfo;
  top: number;
  level: number;
  selected: boolean;
  focused: boolean;
  note: { text: string; address: boolean };
  feed: ThumbnailFeed;
  onSelect(id: string): void;
}

const MachineRow = memo(
  function MachineRow({ machine, top, level, selected, focused, note, feed, onSelect }: RowProps) {
    return (
      <div
        id={rowId(machine.id)}
        role="treeitem"
        aria-level={level}
        aria-selected={selected}
        aria-label={`${machine.name}, ${stateNames[machine.state]}${note.address ? `, ${note.text}` : ""}`}
        className={`machine-row${selected ? " on" : ""}${focused ? " focused" : ""}`}
        style={{ top }}
        title={machine.name}
        data-machine={machine.id}
        onClick={() => onSelect(machine.id)}
        onDoubleClick={() => void runCommand(mainCommand(machine), machine)}
      >
        <Thumbnail id={machine.id} state={machine.state} feed={feed} />
        <div className="grow text">
          <div className="name trunc">{machine.name}</div>
          <div className={note.address ? "note trunc mono" : "note trunc xs"}>{note.text}</div>
        </div>
        <StateGlyph state={machine.state} breathing={selected} decorative />
      </div>
    );
  },
  (before, after) =>
    before.machine === after.machine &&
    before.top === after.top &&
    before.selected === after.selected &&
    before.focused === after.focused &&
    before.note.text === after.note.text &&
    before.onSelect === after.onSelect,
);

const Thumbnail = memo(function Thumbnail({ id, state, feed }: { id: string; state: MachineInfo["state"]; feed: ThumbnailFeed }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [picture, setPicture] = useState<ImageBitmap | null>(null);
  useEffect(() => feed.watch(id, setPicture), [id, feed]);
  useLayoutEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context || !picture) return;
    // Drawn dim rather than shown through a filter of the page, which would cost every scrolled frame.
    context.filter = lights[state];
    // Fills the glass; what does not fit is cut at the right and the bottom, as a terminal is read from its top left.
    const scale = Math.max(116 / picture.width, 72 / picture.height);
    context.drawImage(picture, 0, 0, picture.width * scale, picture.height * scale);
  }, [picture, state]);
  return (
    <div className={picture ? "tank thumb" : "tank thumb empty"}>
      {picture ? (
        <canvas ref={canvas} width={116} height={72} aria-hidden="true" />
      ) : (
        <svg width="58" height="36" aria-hidden="true">
          <path d="M0 28C17 25 35 31 58 26.600V36H0Z" fill="var(--line)" />
        </svg>
      )}
    </div>
  );
});
