import type { MachineState } from "../../core/contract/model";
import { stateNames } from "./format";
import "./ui.css";

const shapes: Readonly<Record<MachineState, React.ReactNode>> = {
  running: <circle cx="5" cy="5" r="4.4" fill="var(--run)" />,
  paused: (
    <g fill="var(--pause)">
      <rect x="1" y=".8" width="2.9" height="8.4" rx="1" />
      <rect x="6.1" y=".8" width="2.9" height="8.4" rx="1" />
    </g>
  ),
  saved: <rect x="1.6" y="1.6" width="6.8" height="6.8" rx="1.2" transform="rotate(45 5 5)" fill="var(--save)" />,
  off: <circle cx="5" cy="5" r="3.9" fill="none" stroke="var(--off)" strokeWidth="1.5" />,
  stopping: <circle cx="5" cy="5" r="3.9" fill="none" stroke="var(--off)" strokeWidth="1.5" strokeDasharray="2.2 1.9" />,
  starting: <path d="M5 .9A4.1 4.1 0 1 1 .9 5" fill="none" stroke="var(--run)" strokeWidth="1.8" strokeLinecap="round" />,
  crashed: <path d="M1.4 1.4l7.2 7.2M8.6 1.4L1.4 8.6" stroke="var(--crash)" strokeWidth="2.2" strokeLinecap="round" />,
  broken: <path d="M5 .8 9.4 8.8H.6Z" fill="none" stroke="var(--crash)" strokeWidth="1.6" strokeLinejoin="round" />,
};

/** The sign of a state. Each state has its own shape, so that colour is never needed to tell them apart. */
export function StateGlyph({ state, breathing = false, decorative = false, size = 10 }: { state: MachineState; breathing?: boolean; decorative?: boolean; size?: number }) {
  const naming = decorative ? { "aria-hidden": true } : { role: "img", "aria-label": stateNames[state] };
  const glyph = (
    <svg className="st" width={size} height={size} viewBox="0 0 10 10" {...naming}>
      {shapes[state]}
    </svg>
  );
  // The halo is an element of its own, so that it is moved by the compositor and costs the page nothing.
  return breathing && state === "running" ? <span className="breathing">{glyph}</span> : glyph;
}
