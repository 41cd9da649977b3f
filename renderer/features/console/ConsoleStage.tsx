import type { RawChannel } from "@novnc/novnc";
import { Play } from "@phosphor-icons/react/dist/csr/Play";
import { useEffect, useState, type Ref } from "react";
import type { MachineInfo } from "../../../core/contract/model";
import { isLive, refusal } from "../../../core/contract/states";
import { call } from "../../api/client";
import { Button } from "../../ui/Button";
import { stateNames } from "../../ui/format";
import { GuestScreen, type GuestScreenHandle } from "../../ui/GuestScreen";
import { Problem } from "../../ui/Problem";

export interface ConsoleStageProps {
  readonly machine: MachineInfo;
  readonly channel: RawChannel | undefined;
  readonly failure: string | undefined;
  readonly scale: "fit" | "one";
  readonly captured: boolean;
  readonly screen: Ref<GuestScreenHandle>;
  onCaptureChange(captured: boolean): void;
  onSize(width: number, height: number): void;
  onDisconnected(): void;
  onStart(): void;
}

/** The place of the guest's display: its pixels while there is a guest, else what there was last and a way on. */
export function ConsoleStage(props: ConsoleStageProps) {
  const { machine, channel, captured } = props;
  const live = isLive(machine.state);
  return (
    <section className={captured ? "stage captured" : "stage"} aria-label="Display">
      {live && channel !== undefined && (
        <div className={machine.state === "paused" ? "screen paused" : "screen"}>
          <GuestScreen
            ref={props.screen}
            channel={channel}
            scale={props.scale}
            label={`Screen of ${machine.name}. Press Enter to type in the guest.`}
            onCaptureChange={props.onCaptureChange}
            onSize={props.onSize}
            onDisconnected={props.onDisconnected}
          />
        </div>
      )}
      {live && channel === undefined && (
        <div className="rest" role="status">
          <div className="card">{props.failure === undefined ? "Connecting to the screen…" : <Problem level="warning" message={props.failure} remedy="Trying again." />}</div>
        </div>
      )}
      {!live && <AtRest machine={machine} onStart={props.onStart} />}
      {live && channel !== undefined && !captured && machine.state === "running" && <div className="invite">Click to type</div>}
    </section>
  );
}

function AtRest({ machine, onStart }: { machine: MachineInfo; onStart(): void }) {
  const [last, setLast] = useState<string | null>(null);
  useEffect(() => {
    let shown = true;
    // A machine that never ran has no screenshot; then the stage stays empty.
    call("machine.screenshot", { id: machine.id }).then(
      (answer) => shown && setLast(answer.png),
      () => shown && setLast(null),
    );
    return () => {
      shown = false;
    };
  }, [machine.id, machine.state]);
  const words: Partial<Record<MachineInfo["state"], string>> = {
    off: `${machine.name} is off.`,
    saved: `${machine.name} is saved. It goes on where it was.`,
    crashed: `${machine.name} has crashed.`,
    broken: `${machine.name} cannot be used.`,
  };
  return (
    <>
      {last !== null && <img className="last" src={`data:image/png;base64,${last}`} alt={`The last screen of ${machine.name}`} />}
      <div className="rest">
        <div className="card">
          <div>{words[machine.state] ?? stateNames[machine.state]}</div>
          {machine.problem !== undefined && <Problem message={machine.problem.message} remedy={machine.problem.remedy} />}
          <Button look="primary" icon={Play} iconFilled refused={refusal("start", machine)} onClick={onStart}>
            {machine.state === "saved" ? "Go on" : "Start"}
          </Button>
        </div>
      </div>
    </>
  );
}
