import type { NetworkMode } from "../../../core/contract/model";
import { connectivity, networkColours } from "./modes";

/** A kind of network as a small picture: outside above, this computer, the machine (filled) and another one below. */
export function ModeDrawing({ mode }: { mode: NetworkMode }) {
  const { toOutside, fromHost, between } = connectivity[mode];
  const colour = networkColours[mode];
  const cable = { fill: "none", stroke: colour, strokeWidth: 2, strokeLinecap: "round", strokeLinejoin: "round" } as const;
  const edge = (there: boolean) => ({ stroke: there ? "var(--ink-2)" : "var(--line-2)", strokeWidth: 1.3 });
  const out = toOutside === "yes";
  const host = fromHost !== "no";
  const shared = between === "yes";
  const sealed = mode === "internal";
  return (
    <svg className="mode-drawing" viewBox="0 -4 196 98" aria-hidden="true">
      <rect x="8" y="-2" width="180" height="19" rx="9.5" fill="none" {...edge(out)} strokeDasharray={out ? undefined : "3 3"} />
      <text x="22" y="11" fontSize="10" fill={out ? "var(--ink-2)" : "var(--ink-3)"}>outside</text>
      <g fill="var(--pane)" {...edge(host)}>
        <rect x="84" y="29" width="28" height="18" rx="3" />
        <path d="M92 51h12" />
      </g>
      {shared && <rect x="30" y="59" width="136" height="8" rx="4" fill={`color-mix(in srgb, ${colour} 22%, var(--pane))`} stroke={colour} strokeWidth="1.4" strokeDasharray={sealed ? "3 2.5" : undefined} />}
      {shared && <path d="M46 73V67M150 73V67" {...cable} />}
      {shared && host && <path d="M98 59V52" {...cable} />}
      {mode === "nat" && <path d="M46 73C46 54 62 38 82 38" {...cable} />}
      {out && mode !== "bridged" && <path d="M98 29V18M94.5 21.5L98 18l3.5 3.5" {...cable} />}
      {mode === "bridged" && <path d="M128 58V18M124.5 21.5L128 18l3.5 3.5M124.5 54.5L128 58l3.5-3.5" {...cable} />}
      {mode === "none" && <path d="M46 73V68M42.5 56.5l7 7M49.5 56.5l-7 7" {...cable} />}
      <rect x="33" y="73" width="26" height="17" rx="4" fill="var(--leaf-fill)" />
      <rect x="137" y="73" width="26" height="17" rx="4" fill="var(--pane)" {...edge(shared)} />
    </svg>
  );
}
