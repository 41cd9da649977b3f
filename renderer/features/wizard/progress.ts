import type { Finding } from "../../../core/contract/model";
import { attachmentLack } from "../../ui/network/modes";
import { hasSeed, sourcePath, type Draft } from "./answers";
import { loginFindings } from "./login";

/* The steps, what belongs to each, and what keeps the person from going on. Pure. */

export const stepNames = ["source", "system", "disk", "network", "review"] as const;
export type StepName = (typeof stepNames)[number];

/** The step a finding belongs to. */
export function stepOf(field: string): StepName {
  if (field === "boot" || field.startsWith("boot.") || field === "medium") return "source";
  if (field === "disks" || field.startsWith("disks.")) return "disk";
  if (field === "adapters" || field.startsWith("adapters.")) return "network";
  return "system";
}

/** The findings shown at a step: its own. Those about a disk image that is copied are shown where it was chosen, too. */
export function findingsOf(step: StepName, findings: readonly Finding[], draft: Draft): Finding[] {
  if (step === "review") return [...findings];
  return findings.filter(({ field }) => stepOf(field) === step || (step === "source" && field === "disks.0" && draft.source === "disk" && draft.imageMode === "copy"));
}

/** Why the person cannot go on from this step, before anything is asked of the host. */
export function missing(step: StepName, draft: Draft): string | undefined {
  switch (step) {
    case "source":
      if (draft.source === "starter" || sourcePath(draft) !== "") return undefined;
      return draft.source === "iso" ? "Choose an ISO image first." : draft.source === "disk" ? "Choose a disk image first." : "Choose a kernel first.";
    case "system":
      if (!draft.name.trim()) return "Give the machine a name first.";
      return hasSeed(draft) ? loginFindings(draft)[0]?.message : undefined;
    case "network":
      return attachmentLack(draft.attachment);
    case "review":
      return missing("source", draft) ?? missing("system", draft) ?? missing("network", draft);
    default:
      return undefined;
  }
}
