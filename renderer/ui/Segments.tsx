import { useRef, type KeyboardEvent } from "react";
import "./ui.css";

/** A choice among few, side by side. */
export function Segments<T extends string>({ options, value, onChange, label }: { options: readonly { readonly id: T; readonly label: string }[]; value: T; onChange(value: T): void; label: string }) {
  const group = useRef<HTMLDivElement>(null);
  const move = (event: KeyboardEvent): void => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const at = (options.findIndex((option) => option.id === value) + step + options.length) % options.length;
    onChange(options[at]!.id);
    group.current?.querySelectorAll("button")[at]?.focus();
  };
  return (
    <div className="segments" role="radiogroup" aria-label={label} ref={group} onKeyDown={move}>
      {options.map((option) => (
        <button key={option.id} type="button" role="radio" aria-checked={option.id === value} tabIndex={option.id === value ? 0 : -1} onClick={() => onChange(option.id)}>
          {option.label}
        </button>
      ))}
    </div>
  );
}
