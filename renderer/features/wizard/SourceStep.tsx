import { Disc } from "@phosphor-icons/react/dist/csr/Disc";
import { HardDrive } from "@phosphor-icons/react/dist/csr/HardDrive";
import { Plant } from "@phosphor-icons/react/dist/csr/Plant";
import { TerminalWindow } from "@phosphor-icons/react/dist/csr/TerminalWindow";
import { Problem } from "../../ui/Problem";
import type { Source } from "./answers";
import { Cards, type CardChoice } from "./Cards";
import { withPath, withSource } from "./draft";
import { FileField } from "./FileField";
import { useInspection } from "./inspection";
import { Recognised } from "./Recognised";
import type { StepProps } from "./step";

const choices: readonly CardChoice<Source>[] = [
  { value: "starter", title: "Terrarium Linux", detail: "A small Linux that comes with Terrarium and is up in a few seconds.", icon: Plant },
  { value: "iso", title: "ISO image", detail: "Install or try a system from its disc image.", icon: Disc },
  { value: "disk", title: "Disk image", detail: "Run a disk you already have, or a cloud image.", icon: HardDrive },
  { value: "kernel", title: "Kernel", detail: "Boot a Linux kernel file directly, with an initrd.", icon: TerminalWindow },
];

export function SourceStep(props: StepProps) {
  const { draft, change, findings, host } = props;
  const setPath = (path: string): void => change(withPath(draft, path));
  const initrd = useInspection(draft.source === "kernel" ? draft.initrd : "");
  const present = host?.engines.filter((engine) => engine.available) ?? [];
  const reads64Bit = present.some((engine) => engine.capabilities.x86_64);
  const readsQcow2 = present.some((engine) => engine.capabilities.diskFormats.includes("qcow2"));
  const file = { path: draft[draft.source === "disk" ? "image" : draft.source === "iso" ? "iso" : "kernel"], inspection: draft.inspection, findings, onChange: setPath };
  return (
    <>
      <h1>What should it run?</h1>
      <p className="lead">A machine is a whole computer. Choose what is on it first.</p>
      <Cards label="Source" choices={choices} value={draft.source} onChoose={(source) => change(withSource(draft, source))} />
      <div className="form">
        {draft.source === "starter" && host?.starter.problem !== undefined && <Problem message={host.starter.problem.message} remedy={host.starter.problem.remedy} />}
        {draft.source === "starter" && host?.starter.ready && <p className="dim">Linux {host.starter.kernelVersion}, with a shell, a web server, SSH and network tools. Its disk is mounted at /data.</p>}
        {draft.source === "iso" && <FileField label="ISO image" kind="iso" hint={reads64Bit ? "The disc image of any x86 system, 64-bit or 32-bit." : "The disc image of a 32-bit x86 system."} {...file} />}
        {draft.source === "disk" && <FileField label="Disk image" kind="disk" hint={readsQcow2 ? "A disk image: qcow2, raw, vmdk, vdi or vhdx. Images for clouds are set up at their first boot." : "A raw disk image."} {...file} />}
        {(draft.source === "iso" || draft.source === "disk") && <Recognised {...props} />}
        {draft.source === "kernel" && (
          <>
            <FileField label="Kernel" kind="kernel" hint="A Linux kernel (bzImage), often called vmlinuz." {...file} />
            <FileField label="Initial RAM disk" kind="initrd" path={draft.initrd} inspection={initrd} hint="Optional: an initrd or initramfs file." onChange={(path) => change({ ...draft, initrd: path })} />
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
