import Tooltip from "@mui/material/Tooltip";
import { useId } from "react";
import type { HostInfo, NetworkMode } from "../../../core/contract/model";
import { ModeDrawing } from "./ModeDrawing";
import { modeDetails, modeProblem, networkModes, networkNames } from "./modes";
import "./network.css";

/** Every kind of network as a card: radio buttons underneath. What cannot be had here can be reached, and says why. */
export function ModeCards({ modes, value, onChoose }: { modes: HostInfo["networkModes"]; value: NetworkMode; onChoose(mode: NetworkMode): void }) {
  const name = useId();
  return (
    <div className="mode-cards" role="radiogroup" aria-label="Network">
      {networkModes.map((mode) => {
        const problem = modeProblem(mode, modes);
        return (
          <Tooltip key={mode} title={problem?.reason ?? ""}>
            <label className={["mode-card", mode === value && "selected", problem && "refused"].filter(Boolean).join(" ")}>
              <input
                type="radio"
                name={name}
                value={mode}
                checked={mode === value}
                aria-label={networkNames[mode]}
                aria-describedby={`${name}-${mode}`}
                aria-disabled={problem !== undefined || undefined}
                onChange={() => problem === undefined && onChoose(mode)}
              />
              <ModeDrawing mode={mode} />
              <span className="row" style={{ gap: 8 }}>
                <span className="mark" />
                <b>{networkNames[mode]}</b>
              </span>
              <span id={`${name}-${mode}`} className="xs dim detail">
                {modeDetails[mode]}
                {problem && <span className="visually-hidden">. {problem.reason} {problem.remedy}</span>}
              </span>
            </label>
          </Tooltip>
        );
      })}
    </div>
  );
}
