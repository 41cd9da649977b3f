import Menu from "@mui/material/Menu";
import MenuItem from "@mui/material/MenuItem";
import Divider from "@mui/material/Divider";
import type { Icon } from "@phosphor-icons/react";
import { ArrowsOut } from "@phosphor-icons/react/dist/csr/ArrowsOut";
import { ArrowsIn } from "@phosphor-icons/react/dist/csr/ArrowsIn";
import { CaretDown } from "@phosphor-icons/react/dist/csr/CaretDown";
import { Image } from "@phosphor-icons/react/dist/csr/Image";
import { Keyboard } from "@phosphor-icons/react/dist/csr/Keyboard";
import { Pause } from "@phosphor-icons/react/dist/csr/Pause";
import { Play } from "@phosphor-icons/react/dist/csr/Play";
import { Power } from "@phosphor-icons/react/dist/csr/Power";
import { Terminal } from "@phosphor-icons/react/dist/csr/Terminal";
import { TerminalWindow } from "@phosphor-icons/react/dist/csr/TerminalWindow";
import { Textbox } from "@phosphor-icons/react/dist/csr/Textbox";
import { useState, type ReactNode } from "react";
import type { MachineInfo } from "../../../core/contract/model";
import { refusal, type MachineCommand } from "../../../core/contract/states";
import { Button } from "../../ui/Button";
import type { MachineAction } from "./actions";
import type { TerminalView } from "./TerminalPane";
import { keyCombinations, type KeyCombination } from "./keys";

export interface ConsoleToolbarProps {
  readonly machine: MachineInfo;
  readonly scale: "fit" | "one";
  /** The terminal that is shown beside the screen. */
  readonly terminal: TerminalView | undefined;
  readonly fullscreen: boolean;
  /** The host key's name, for the tips. */
  readonly hostKey: string;
  act(action: MachineAction): void;
  sendKeys(combination: KeyCombination): void;
  typeText(): void;
  screenshot(): void;
  setScale(scale: "fit" | "one"): void;
  toggleTerminal(view: TerminalView): void;
  toggleFullscreen(): void;
}

const powerActions: readonly { action: MachineAction; label: string; command: MachineCommand; divider?: boolean }[] = [
  { action: "start", label: "Start", command: "start" },
  { action: "save", label: "Save state", command: "save" },
  { action: "shutdown", label: "Shut down", command: "shutdown", divider: true },
  { action: "reset", label: "Reset…", command: "reset", divider: true },
  { action: "powerOff", label: "Power off…", command: "powerOff" },
];

/** The console window's commands. What is not legal now says why. */
export function ConsoleToolbar(props: ConsoleToolbarProps) {
  const { machine, act, scale, fullscreen, terminal, hostKey } = props;
  const paused = machine.state === "paused";
  const noInput = refusal("sendInput", machine);
  return (
    <div className="toolbar" role="toolbar" aria-label="Console">
      <DropDown label="Power" icon={Power}>
        {(close) =>
          powerActions.flatMap(({ action, label, command, divider }) => {
            const refused = refusal(command, machine);
            return [
              ...(divider ? [<Divider key={`${action}-line`} />] : []),
              <MenuItem
                key={action}
                aria-disabled={refused !== undefined}
                title={refused}
                sx={refused === undefined ? undefined : { color: "var(--ink-3)" }}
                onClick={() => {
                  if (refused !== undefined) return;
                  close();
                  act(action);
                }}
              >
                {label}
              </MenuItem>,
            ];
          })
        }
      </DropDown>
      <Button
        look="quiet"
        icon={paused ? Play : Pause}
        iconFilled={paused}
        aria-label={paused ? "Resume" : "Pause"}
        tip={`${paused ? "Resume" : "Pause"} (${hostKey}+P)`}
        refused={refusal(paused ? "resume" : "pause", machine)}
        onClick={() => act(paused ? "resume" : "pause")}
      />
      <span className="rule" />
      <DropDown label="Keys" icon={Keyboard} refused={noInput}>
        {(close) =>
          keyCombinations.flatMap((combination) => [
            ...(combination.section ? [<Divider key={`${combination.label}-line`} />] : []),
            <MenuItem
              key={combination.label}
              onClick={() => {
                close();
                props.sendKeys(combination);
              }}
            >
              {combination.label}
            </MenuItem>,
          ])
        }
      </DropDown>
      <Button look="quiet" icon={Textbox} refused={noInput} tip={`Type a text on the guest's keyboard (${hostKey}+T)`} aria-label="Type text" onClick={props.typeText}>
        <span className="words">Type text</span>
      </Button>
      <span className="rule" />
      <Button look="quiet" icon={Image} refused={refusal("screenshot", machine)} tip={`Save the screen as a picture (${hostKey}+E)`} aria-label="Screenshot" onClick={props.screenshot}>
        <span className="words">Screenshot</span>
      </Button>
      <span className="grow" />
      <DropDown label={scale === "fit" ? "Fit" : "100 %"} prefix="Scale">
        {(close) =>
          (["fit", "one"] as const).map((value) => (
            <MenuItem
              key={value}
              selected={scale === value}
              onClick={() => {
                close();
                props.setScale(value);
              }}
            >
              {value === "fit" ? "Fit to the window" : "100 %, guest pixels one to one"}
            </MenuItem>
          ))
        }
      </DropDown>
      <Button look="quiet" icon={Terminal} className={terminal === "serial" ? "on" : undefined} aria-pressed={terminal === "serial"} aria-label="Serial" tip={`Serial terminal (${hostKey}+L)`} onClick={() => props.toggleTerminal("serial")}>
        <span className="words">Serial</span>
      </Button>
      <Button look="quiet" icon={TerminalWindow} className={terminal === "ssh" ? "on" : undefined} aria-pressed={terminal === "ssh"} aria-label="SSH" tip="Log in to the guest by ssh" onClick={() => props.toggleTerminal("ssh")}>
        <span className="words">SSH</span>
      </Button>
      <Button look="quiet" icon={fullscreen ? ArrowsIn : ArrowsOut} aria-label={fullscreen ? "Leave full screen" : "Full screen"} tip={`${fullscreen ? "Leave full screen" : "Full screen"} (${hostKey}+F)`} onClick={props.toggleFullscreen}>
        <span className="words">{fullscreen ? "Leave full screen" : "Full screen"}</span>
      </Button>
    </div>
  );
}

interface DropDownProps {
  readonly label: string;
  readonly prefix?: string;
  readonly icon?: Icon;
  readonly refused?: string | undefined;
  readonly children: (close: () => void) => ReactNode;
}

function DropDown({ label, prefix, icon, refused, children }: DropDownProps) {
  const [anchor, setAnchor] = useState<HTMLElement | null>(null);
  return (
    <>
      <Button
        look="quiet"
        icon={icon}
        refused={refused}
        aria-haspopup="menu"
        aria-expanded={anchor !== null}
        aria-label={prefix === undefined ? label : `${prefix}: ${label}`}
        end={<CaretDown size={10} aria-hidden />}
        onClick={(event) => setAnchor(event.currentTarget)}
      >
        <span className="words">
          {prefix !== undefined && <span className="faint">{prefix} </span>}
          {label}
        </span>
      </Button>
      <Menu anchorEl={anchor} open={anchor !== null} onClose={() => setAnchor(null)}>
        {anchor !== null && children(() => setAnchor(null))}
      </Menu>
    </>
  );
}
