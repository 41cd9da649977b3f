import Tooltip from "@mui/material/Tooltip";
import { useId, type ReactNode } from "react";
import type { Finding } from "../../../core/contract/model";
import { Findings } from "./Findings";

export interface Option<T extends string> {
  readonly value: T;
  readonly title: string;
  readonly note?: ReactNode;
  /** Why it cannot be chosen. It stays within reach of the keyboard, so that the reason can be read. */
  readonly refused?: string | undefined;
}

/** A choice of one in a list, each with a note. */
export function Options<T extends string>({ label, options, value, onChoose, findings = [], hint }: {
  label: string;
  options: readonly Option<T>[];
  value: T;
  onChoose(value: T): void;
  findings?: readonly Finding[];
  hint?: ReactNode;
}) {
  const id = useId();
  return (
    <div className="field" role="radiogroup" aria-labelledby={`${id}-label`} aria-describedby={`${id}-notes`}>
      <span className="label" id={`${id}-label`}>{label}</span>
      {options.map(({ value: option, title, note, refused }) => (
        <Tooltip key={option} title={refused ?? ""} placement="right">
          <label className={refused === undefined ? "check" : "check refused"}>
            <input
              type="radio"
              name={id}
              value={option}
              checked={option === value}
              aria-label={title}
              aria-disabled={refused !== undefined || undefined}
              aria-describedby={`${id}-${option}`}
              onChange={() => refused === undefined && onChoose(option)}
            />
            <span>
              {title}
              <span className="note" id={`${id}-${option}`}>
                {note}
                {refused !== undefined && <span className="visually-hidden">{refused}</span>}
              </span>
            </span>
          </label>
        </Tooltip>
      ))}
      <div id={`${id}-notes`} className="hint">
        {hint}
        <Findings list={findings} />
      </div>
    </div>
  );
}
