import { ListMagnifyingGlass } from "@phosphor-icons/react/dist/csr/ListMagnifyingGlass";
import type { MachineInfo, PauseReason } from "../../../core/contract/model";
import { Button } from "../../ui/Button";
import { Problem } from "../../ui/Problem";
import { commands, refusalOf, runCommand, type CommandId } from "./commands";

/** Pauses that nobody asked for: why, what to do, and the commands for it. */
const unwantedPauses: Readonly<Partial<Record<PauseReason, { message: string; remedy: string; actions: readonly CommandId[] }>>> = {
  "disk-full": {
    message: "This computer's disk is full, so the machine was paused before it could lose anything.",
    remedy: "Free some space, then resume: the guest goes on where it was, and nothing is lost.",
    actions: ["resume", "showFolder", "powerOff"],
  },
  "io-error": {
    message: "A disk of this machine could not be read or written, so it was paused.",
    remedy: "The engine's log names the fault. Put the disk right, then resume: the guest tries again and nothing is lost.",
    actions: ["resume", "showFolder", "powerOff"],
  },
  "guest-panic": {
    message: "The guest's operating system has crashed, and cannot go on.",
    remedy: "Its screen says why. Reset it to start it again; what it had not written is lost.",
    actions: ["openConsole", "reset", "powerOff"],
  },
};

/** Why a machine is not as it should be, and the ways out. */
export function Trouble({ machine, onLogs }: { machine: MachineInfo; onLogs(): void }) {
  if (machine.state === "crashed" || machine.state === "broken") {
    const broken = machine.state === "broken";
    return (
      <Problem message={machine.problem?.message ?? (broken ? "The machine cannot be used." : "The machine has crashed.")} remedy={machine.problem?.remedy}>
        {!broken && <Action id="start" machine={machine} words="Start again" />}
        {!broken && <LogsAction onLogs={onLogs} />}
        <Action id="showFolder" machine={machine} />
        <Action id="delete" machine={machine} />
      </Problem>
    );
  }
  const pause = machine.state === "paused" && machine.pauseReason ? unwantedPauses[machine.pauseReason] : undefined;
  if (pause) {
    return (
      <Problem level="warning" message={machine.problem?.message ?? pause.message} remedy={machine.problem?.remedy ?? pause.remedy}>
        {pause.actions.map((id) => (
          <Action key={id} id={id} machine={machine} />
        ))}
        <LogsAction onLogs={onLogs} />
      </Problem>
    );
  }
  if (machine.unresponsive) {
    return (
      <Problem level="warning" message="The machine has not answered for a while." remedy="It may be busy. If it stays like this, power it off; the guest then loses what it has not written.">
        <Action id="powerOff" machine={machine} />
        <LogsAction onLogs={onLogs} />
      </Problem>
    );
  }
  return null;
}

function LogsAction({ onLogs }: { onLogs(): void }) {
  return (
    <Button small icon={ListMagnifyingGlass} onClick={onLogs}>
      Show its logs
    </Button>
  );
}

function Action({ id, machine, words }: { id: CommandId; machine: MachineInfo; words?: string }) {
  const { label, icon, danger } = commands[id];
  return (
    <Button small look={danger ? "danger" : "plain"} icon={icon} refused={refusalOf(id, machine)} onClick={() => void runCommand(id, machine)}>
      {words ?? label}
    </Button>
  );
}
