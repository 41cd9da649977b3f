import { FolderOpen } from "@phosphor-icons/react/dist/csr/FolderOpen";
import type { BootConfig } from "../../../../core/contract/model";
import { desktop } from "../../../api/client";
import { useHost } from "../../../api/hooks";
import { Button } from "../../../ui/Button";
import { Choice } from "../../../ui/Choice";
import { Field } from "../../../ui/Field";
import { formatMiB, plural } from "../../../ui/format";
import { attempt } from "../../../ui/toasts";
import { ExpertFields } from "./ExpertFields";
import { HardwareFields } from "./HardwareFields";
import { hasExpertSettings } from "./hardwareDraft";
import type { SectionProps } from "./sectionProps";

type BootChoice = "disk" | "cd" | "starter" | "kernel";

export function SystemSection(props: SectionProps) {
  const { config, draft, change, findings, locked, offer } = props;
  const host = useHost();
  const { boot } = draft;
  const chosen: BootChoice = boot.kind === "firmware" ? boot.order : boot.kind;

  const choose = (choice: BootChoice): void => {
    const boots: Record<BootChoice, BootConfig> = {
      disk: { kind: "firmware", order: "disk" },
      cd: { kind: "firmware", order: "cd" },
      starter: { kind: "starter" },
      // A path has to be picked; until then the one it had.
      kernel: config.boot.kind === "kernel" ? config.boot : { kind: "kernel", kernel: "", cmdline: "console=ttyS0" },
    };
    change({ boot: boots[choice] });
    if (choice === "kernel" && config.boot.kind !== "kernel") void pickKernel({ kind: "kernel", kernel: "", cmdline: "console=ttyS0" });
  };
  const pickKernel = (from: Extract<BootConfig, { kind: "kernel" }>): Promise<void | undefined> =>
    attempt(async () => {
      const kernel = await desktop.pickFile("Choose a Linux kernel", "kernel");
      if (kernel !== null) change({ boot: { ...from, kernel } });
      else if (from.kernel === "") change({ boot: config.boot });
    }, config.name);
  const pickInitrd = (from: Extract<BootConfig, { kind: "kernel" }>): Promise<void | undefined> =>
    attempt(async () => {
      const initrd = await desktop.pickFile("Choose an initial RAM disk", "initrd");
      if (initrd !== null) change({ boot: { ...from, initrd } });
    }, config.name);

  return (
    <section className="settings-section" id="settings-system">
      <h2>System</h2>
      <div className="two">
        <Field label="Memory in MB" hint={locked ?? (host && `${formatMiB(host.memoryAvailableMiB)} of ${formatMiB(host.memoryTotalMiB)} are free on this computer.`)} findings={findings("memoryMiB")}>
          <input className="input num" inputMode="numeric" value={draft.memoryMiB} disabled={locked !== undefined} onChange={(event) => change({ memoryMiB: event.target.value })} />
        </Field>
        <Field
          label="Processors"
          hint={offer.maxCpus === 1 ? "This engine gives a machine one processor." : host && `This computer has ${plural(host.cpus, "processor")}.`}
          findings={findings("cpus")}
        >
          <input className="input num" inputMode="numeric" value={draft.cpus} disabled={locked !== undefined} onChange={(event) => change({ cpus: event.target.value })} />
        </Field>
      </div>
      <Field label="Starts from" findings={findings("boot")} width={273}>
        <Choice<BootChoice>
          value={chosen}
          disabled={locked !== undefined}
          onChange={choose}
          options={[
            { id: "disk", label: "Its first disk" },
            { id: "cd", label: "The CD" },
            { id: "starter", label: "Terrarium Linux", note: host?.starter.ready === false ? host.starter.problem?.message : undefined, disabled: host?.starter.ready === false },
            { id: "kernel", label: "A Linux kernel on this computer" },
          ]}
        />
      </Field>
      {boot.kind === "kernel" && (
        <>
          <PathField label="Kernel" path={boot.kernel} disabled={locked !== undefined} onPick={() => void pickKernel(boot)} />
          <PathField label="Initial RAM disk" path={boot.initrd ?? "none"} disabled={locked !== undefined} onPick={() => void pickInitrd(boot)} />
          <Field label="Command line">
            <input className="input mono" value={boot.cmdline} spellCheck={false} maxLength={2000} disabled={locked !== undefined} onChange={(event) => change({ boot: { ...boot, cmdline: event.target.value } })} />
          </Field>
        </>
      )}
      <HardwareFields {...props} />
      {(offer.expertSettings || hasExpertSettings(draft.hardware)) && <ExpertFields {...props} />}
    </section>
  );
}

function PathField({ label, path, disabled, onPick }: { label: string; path: string; disabled: boolean; onPick(): void }) {
  return (
    <div className="row" style={{ gap: 8, alignItems: "flex-end" }}>
      <div className="grow">
        <Field label={label}>
          <input className="input mono" readOnly value={path} />
        </Field>
      </div>
      {!disabled && (
        <Button icon={FolderOpen} aria-label={`${label}: choose another file`} onClick={onPick}>
          Choose
        </Button>
      )}
    </div>
  );
}
