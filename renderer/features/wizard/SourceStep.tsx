import { Disc } from "@phosphor-icons/react/dist/csr/Disc";
import { HardDrive } from "@phosphor-icons/react/dist/csr/HardDrive";
import { Plant } from "@phosphor-icons/react/dist/csr/Plant";
import { TerminalWindow } from "@phosphor-icons/react/dist/csr/TerminalWindow";
import type { StarterInfo } from "../../../core/contract/model";
import { Problem } from "../../ui/Problem";
import { Cards, type CardChoice } from "./Cards";
import type { Source } from "./draft";
import { FileField } from "./FileField";
import type { StepProps } from "./step";
import { withPath, withSource } from "./draft";

const choices: readonly CardChoice<Source>[] = [
  { value: "starter", title: "Terrarium Linux", detail: "A small Linux that comes with Terrarium and is up in a few seconds.", icon: Plant },
  { value: "iso", title: "ISO image", detail: "Install or try a system from its disc image.", icon: Disc },
  { value: "disk", title: "Disk image", detail: "Run a disk you already have, or a copy of it.", icon: HardDrive },
  { value: "kernel", title: "Kernel", detail: "Boot a Linux kernel file directly, with an initrd.", icon: TerminalWindow },
];

export function SourceStep({ draft, change, findings, machines, starter }: StepProps & { starter: StarterInfo | undefined }) {
  const setPath = (path: string): void => change(withPath(draft, path, machines));
  return (
    <>
      <h1>What should it run?</h1>
      <p className="lead">A machine is a whole computer. Choose what is on it first.</p>
      <Cards label="Source" choices={choices} value={draft.source} onChoose={(source) => change(withSource(draft, source, machines))} />
      <div className="form">
        {draft.source === "starter" && starter?.problem !== undefined && <Problem message={starter.problem.message} remedy={starter.problem.remedy} />}
        {draft.source === "starter" && starter?.ready && <p className="dim">Linux {starter.kernelVersion}, with a shell, a web server, SSH and network tools. Its disk is mounted at /data.</p>}
        {draft.source === "iso" && <FileField label="ISO image" kind="iso" path={draft.iso} findings={findings} hint="The disc image of a 32-bit x86 system." onChange={setPath} />}
        {draft.source === "disk" && (
          <>
            <FileField label="Disk image" kind="disk" path={draft.image} findings={findings} hint="A raw disk image." onChange={setPath} />
            <div className="field" role="radiogroup" aria-label="Copy or link">
              <label className="check">
                <input type="radio" name="image-mode" checked={draft.imageMode === "copy"} onChange={() => change({ ...draft, imageMode: "copy" })} />
                <span>
                  Copy it into the machine’s folder
                  <span className="note">The file stays as it is.</span>
                </span>
              </label>
              <label className="check">
                <input type="radio" name="image-mode" checked={draft.imageMode === "link"} onChange={() => change({ ...draft, imageMode: "link" })} />
                <span>
                  Use it where it is
                  <span className="note">The machine writes into that file.</span>
                </span>
              </label>
            </div>
          </>
        )}
        {draft.source === "kernel" && (
          <>
            <FileField label="Kernel" kind="kernel" path={draft.kernel} findings={findings} hint="A Linux kernel (bzImage), often called vmlinuz." onChange={setPath} />
            <FileField label="Initial RAM disk" kind="initrd" path={draft.initrd} hint="Optional: an initrd or initramfs file." onChange={(initrd) => change({ ...draft, initrd })} />
            <div className="field">
              <label htmlFor="cmdline">Kernel command line</label>
              <input id="cmdline" className="input mono" spellCheck={false} maxLength={2000} value={draft.cmdline} onChange={(event) => change({ ...draft, cmdline: event.target.value })} />
            </div>
          </>
        )}
      </div>
    </>
  );
}
