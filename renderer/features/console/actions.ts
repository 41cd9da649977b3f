import type { MachineInfo } from "../../../core/contract/model";
import { call } from "../../api/client";
import { confirm } from "../../ui/confirm";
import { attempt } from "../../ui/toasts";

export type MachineAction = "start" | "pause" | "resume" | "save" | "shutdown" | "reset" | "powerOff";

/** Does what the person asked of the machine; asks first where the guest would lose something. */
export async function runAction(action: MachineAction, machine: MachineInfo): Promise<void> {
  const { id } = machine;
  if (action === "reset" || action === "powerOff") {
    const sure = await confirm({
      title: action === "reset" ? `Reset ${machine.name}?` : `Power off ${machine.name}?`,
      body: "What the guest has not written to its disks is lost, as when a plug is pulled.",
      action: action === "reset" ? "Reset" : "Power off",
      danger: true,
    });
    if (!sure) return;
  }
  await attempt(() => call(`machine.${action}`, { id }), machine.name);
}
