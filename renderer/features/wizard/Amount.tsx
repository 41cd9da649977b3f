import Slider from "@mui/material/Slider";
import { useEffect, useState } from "react";
import type { Finding } from "../../../core/contract/model";
import { Findings } from "./Findings";

export interface AmountProps {
  readonly id: string;
  readonly label: string;
  /** The unit beside the number, as in "MB". */
  readonly unit: string;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  /** Stops of the slider, ascending, within min and max. */
  readonly stops: readonly number[];
  readonly hint?: string;
  readonly findings?: readonly Finding[];
  onChange(value: number): void;
}

/** A number with a slider over sensible stops and a field for any other. */
export function Amount({ id, label, unit, value, min, max, stops, hint, findings = [], onChange }: AmountProps) {
  const [text, setText] = useState(String(value));
  useEffect(() => setText(String(value)), [value]);
  const nearest = stops.reduce((best, stop, index) => (Math.abs(stop - value) < Math.abs((stops[best] ?? 0) - value) ? index : best), 0);
  const typed = Number(text);
  const invalid = !Number.isInteger(typed) || typed < min || typed > max;
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <div className="amount">
        <Slider
          aria-label={`${label}, slider`}
          min={0}
          max={stops.length - 1}
          step={1}
          value={nearest}
          getAriaValueText={(index) => `${stops[index] ?? value} ${unit}`}
          onChange={(_, index) => {
            const stop = stops[index as number];
            if (stop !== undefined) onChange(stop);
          }}
        />
        <input
          id={id}
          className="input num"
          inputMode="numeric"
          value={text}
          aria-invalid={invalid || findings.some((finding) => finding.level === "error") || undefined}
          aria-describedby={`${id}-notes`}
          onChange={(event) => {
            setText(event.target.value);
            const next = Number(event.target.value);
            if (event.target.value.trim() !== "" && Number.isInteger(next) && next > 0) onChange(next);
          }}
        />
        <span className="dim">{unit}</span>
      </div>
      <div id={`${id}-notes`} className="hint">
        {hint}
        {invalid && findings.length === 0 && <div className="finding error">{`Give a whole number from ${min} to ${max}.`}</div>}
        <Findings list={findings} />
      </div>
    </div>
  );
}

/** Powers of two and their halves from `min` to `max`, both included: 16, 24, 32, 48, ... */
export function stopsBetween(min: number, max: number): number[] {
  const stops = new Set<number>([min]);
  for (let power = 1; power <= max; power *= 2) {
    for (const stop of [power, power * 1.5]) if (Number.isInteger(stop) && stop >= min && stop <= max) stops.add(stop);
  }
  stops.add(max);
  return [...stops].sort((a, b) => a - b);
}
