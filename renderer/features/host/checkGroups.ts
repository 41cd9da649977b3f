import type { DoctorCheck, EngineInfo } from "../../../core/contract/model";
import { plural } from "../../ui/format";

export interface CheckGroup {
  readonly title: string;
  readonly checks: readonly DoctorCheck[];
}

const computer = "Computer and home";
const engineParts = "Engines and their parts";
const accelerators = "Accelerators";

/**
 * The checks by what they are about, as their ids say: `accelerator-...`; `engine-<engine>` and `<engine>-...` for an engine
 * and its parts, firmware and the starter; the rest is the computer itself. Within a group they stay in the order they came.
 */
export function grouped(checks: readonly DoctorCheck[], engines: readonly Pick<EngineInfo, "id">[]): CheckGroup[] {
  const isPart = (id: string): boolean => id === "starter" || id.startsWith("engine-") || id.startsWith("firmware-") || engines.some((engine) => id === engine.id || id.startsWith(`${engine.id}-`));
  const titleOf = ({ id }: DoctorCheck): string => (id.startsWith("accelerator-") ? accelerators : isPart(id) ? engineParts : computer);
  return [computer, engineParts, accelerators].map((title) => ({ title, checks: checks.filter((check) => titleOf(check) === title) })).filter((group) => group.checks.length > 0);
}

/** "Everything is in order.", or how much is not. */
export function summary(checks: readonly DoctorCheck[]): string {
  const errors = checks.filter(({ status }) => status === "error").length;
  const warnings = checks.filter(({ status }) => status === "warning").length;
  if (errors + warnings === 0) return "Everything machines need is in order.";
  return `Of ${plural(checks.length, "check")}: ${[errors > 0 ? plural(errors, "problem") : "", warnings > 0 ? plural(warnings, "warning") : ""].filter(Boolean).join(" and ")}.`;
}
