import type { HostInfo } from "../../../core/contract/model";
import { formatBytes, formatMiB, plural } from "../../ui/format";
import { nameFromPath, sourcePath, type Draft } from "./draft";

const sourceNames = { starter: "Terrarium Linux", iso: "ISO image", disk: "Disk image", kernel: "Linux kernel" } as const;

/** The draft in words, for the summary and the review. */
export function facts(draft: Draft, host: HostInfo | undefined): [string, string][] {
  const path = sourcePath(draft);
  const disks = [
    ...(draft.source === "disk" && draft.image ? [draft.imageMode === "copy" ? "a copy of the image" : "the image itself"] : []),
    ...(draft.diskBytes === null ? [] : [`${formatBytes(draft.diskBytes)}, grows as needed`]),
  ];
  const engine = host?.engines.find((candidate) => candidate.available);
  return [
    ["Guest", path === "" ? sourceNames[draft.source] : `${sourceNames[draft.source]} ${nameFromPath(path)}`],
    ["Engine", engine?.label ?? "none available"],
    ["Hardware", `${plural(draft.cpus, "processor")}, ${formatMiB(draft.memoryMiB)} memory`],
    ["Disk", disks.length === 0 ? "none" : disks.join(" and ")],
    ["Network", draft.networkMode === "none" ? "unplugged" : draft.networkMode],
  ];
}
