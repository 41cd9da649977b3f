import { useRef, type KeyboardEvent, type ReactNode } from "react";
import "./ui.css";

export interface TabItem<T extends string> {
  readonly id: T;
  readonly label: string;
  readonly note?: ReactNode;
}

/** A row of tabs; arrows, Home and End move between them. */
export function Tabs<T extends string>({ items, active, onSelect, label, idPrefix }: { items: readonly TabItem<T>[]; active: T; onSelect(id: T): void; label: string; idPrefix: string }) {
  const list = useRef<HTMLDivElement>(null);
  const move = (event: KeyboardEvent): void => {
    const at = items.findIndex((item) => item.id === active);
    const to = { ArrowRight: (at + 1) % items.length, ArrowLeft: (at + items.length - 1) % items.length, Home: 0, End: items.length - 1 }[event.key];
    const next = to === undefined ? undefined : items[to];
    if (!next) return;
    event.preventDefault();
    onSelect(next.id);
    list.current?.querySelector<HTMLElement>(`#${idPrefix}-tab-${next.id}`)?.focus();
  };
  return (
    <div className="tabs" role="tablist" aria-label={label} ref={list} onKeyDown={move}>
      {items.map((item) => (
        <button
          key={item.id}
          type="button"
          role="tab"
          id={`${idPrefix}-tab-${item.id}`}
          aria-selected={item.id === active}
          aria-controls={`${idPrefix}-panel`}
          tabIndex={item.id === active ? 0 : -1}
          onClick={() => onSelect(item.id)}
        >
          {item.label}
          {item.note !== undefined && <span className="note">{item.note}</span>}
        </button>
      ))}
    </div>
  );
}
