import { useEffect, useMemo, useRef, useState } from "react";
import type { EngineInfo, Finding, MachineConfig, MachineInfo } from "../../../../core/contract/model";
import { isLive, refusal } from "../../../../core/contract/states";
import { call } from "../../../api/client";
import { useHost } from "../../../api/hooks";
import { Button } from "../../../ui/Button";
import { confirm } from "../../../ui/confirm";
import { formatBytes, plural } from "../../../ui/format";
import { Problem } from "../../../ui/Problem";
import { attempt, toasts } from "../../../ui/toasts";
import { draftOf, malformed, patchOf, rebased, type Draft } from "./draft";
import { GeneralSection } from "./GeneralSection";
import { NetworkSection } from "./NetworkSection";
import { offerOf } from "./offer";
import { addAdapterRefusal, linkRefusal, patchRefusal, plugRefusal } from "./refusals";
import { removalOf, type Removal } from "./removal";
import type { SectionProps } from "./sectionProps";
import { StorageSection } from "./StorageSection";
import { SystemSection } from "./SystemSection";

const sections = [
  { id: "general", label: "General" },
  { id: "system", label: "System" },
  { id: "storage", label: "Storage" },
  { id: "network", label: "Network" },
] as const;

export default function Settings({ machine }: { machine: MachineInfo }) {
  if (!machine.config) {
    return (
      <div style={{ padding: "22px 28px" }}>
        <Problem message={machine.problem?.message ?? "The machine's configuration cannot be read."} remedy={machine.problem?.remedy} />
      </div>
    );
  }
  return <SettingsForm machine={machine} config={machine.config} />;
}

const noEngines: readonly EngineInfo[] = [];

/** What may change although the hardware may not. */
function changeable(machine: MachineInfo): string[] {
  const { diskLimits = false } = machine.engine?.capabilities ?? {};
  return [
    "Name",
    "group",
    ...(refusal("changeMedium", machine) === undefined ? ["the CD"] : []),
    ...(plugRefusal(machine) === undefined ? ["virtio disks"] : []),
    ...(diskLimits && refusal("setLimits", machine) === undefined ? ["limits of disks"] : []),
    ...(linkRefusal(machine) === undefined ? ["network cables"] : []),
    ...(isLive(machine.state) && addAdapterRefusal(machine) === undefined ? ["adapters"] : []),
  ];
}

/** "a, b and c". */
function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** Every file that goes, with what is on it, and what stays. */
function Losses({ deleted, left, live }: Removal & { readonly live: boolean }) {
  return (
    <>
      <p>This is deleted for good, with everything on it.{live && " The guest may be using it now."}</p>
      <ul className="losses">
        {deleted.map(({ id, sizeBytes, files }) => (
          <li key={id}>
            <b>{id}</b>, <span className="num">{formatBytes(sizeBytes)}</span>
            {files.map((file) => (
              <div key={file} className="mono">{file}</div>
            ))}
          </li>
        ))}
      </ul>
      {left.map(({ id, files }) => (
        <p key={id} className="s">{id} is taken out; its image stays: <span className="mono">{files.join(", ")}</span></p>
      ))}
    </>
  );
}

/** What was typed and not applied, by machine: looking at another machine or page throws nothing away. */
const unapplied = new Map<string, { readonly draft: Draft; readonly base: MachineConfig }>();

function SettingsForm({ machine, config }: { machine: MachineInfo; config: MachineConfig }) {
  const [draft, setDraft] = useState<Draft>(() => unapplied.get(machine.id)?.draft ?? draftOf(config));
  const [base, setBase] = useState(() => unapplied.get(machine.id)?.base ?? config);
  const [checked, setChecked] = useState<readonly Finding[]>([]);
  const [applying, setApplying] = useState(false);
  const form = useRef<HTMLDivElement>(null);
  const patch = useMemo(() => patchOf(config, draft), [config, draft]);
  const patchText = JSON.stringify(patch);
  const dirty = patchText !== "{}";
  const engines = useHost()?.engines ?? noEngines;
  const wrong = useMemo(() => malformed(draft), [draft]);

  // Someone else may change the machine meanwhile (the command line): what was not touched here follows.
  if (base !== config) {
    setBase(config);
    setDraft(rebased(draft, base, config));
  }

  useEffect(() => {
    if (dirty) unapplied.set(machine.id, { draft, base });
    else unapplied.delete(machine.id);
  }, [machine.id, dirty, draft, base]);

  useEffect(() => {
    if (patchText === "{}") {
      setChecked([]);
      return undefined;
    }
    let current = true;
    const timer = setTimeout(() => {
      call("machine.check", { id: machine.id, patch: JSON.parse(patchText) as typeof patch }).then(
        (found) => current && setChecked(found),
        (error: unknown) => current && toasts.showError(error, machine.name),
      );
    }, 120);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [machine.id, machine.name, patchText]);

  const all = [...wrong, ...checked];
  const locked = refusal("configure", machine);
  const offer = useMemo(() => offerOf(machine, draft, engines, locked !== undefined), [machine, draft, engines, locked]);
  const errors = all.filter((finding) => finding.level === "error");
  const refused = errors.length > 0 ? `Put ${plural(errors.length, "setting")} right first: ${errors[0]!.message}` : patchRefusal(machine, config, patch);

  const apply = async (): Promise<void> => {
    const removal = removalOf(config, machine.folder, draft.removeDisks);
    if (removal.deleted.length > 0) {
      const title = `Delete ${listed(removal.deleted.map(({ id }) => id))} of ${machine.name}?`;
      if (!(await confirm({ title, body: <Losses {...removal} live={isLive(machine.state)} />, action: "Delete and apply", danger: true }))) return;
    }
    setApplying(true);
    const changed = await attempt(() => call("machine.set", { id: machine.id, patch }), machine.name);
    setApplying(false);
    if (!changed) return;
    if (changed.config) {
      setDraft(draftOf(changed.config));
      setBase(changed.config);
    }
    toasts.show({ level: "success", message: `Changed the settings of ${changed.name}.` });
  };

  const props: SectionProps = {
    machine,
    config,
    draft,
    change: (part) => setDraft((before) => ({ ...before, ...part })),
    findings: (field) => all.filter((finding) => finding.field === field || finding.field.startsWith(`${field}.`)),
    locked,
    offer,
  };
  return (
    <>
      <div className="settings" ref={form}>
        <nav className="settings-nav" aria-label="Sections of the settings">
          {sections.map((section) => (
            <a
              key={section.id}
              href={`#settings-${section.id}`}
              onClick={(event) => {
                event.preventDefault();
                form.current?.querySelector(`#settings-${section.id}`)?.scrollIntoView({ behavior: "smooth", block: "start" });
              }}
            >
              {section.label}
            </a>
          ))}
        </nav>
        <div className="settings-body">
          {locked !== undefined && <Problem level="hint" message={locked} remedy={`${listed(changeable(machine))} can be changed meanwhile.`} />}
          <GeneralSection {...props} />
          <SystemSection {...props} />
          <StorageSection {...props} />
          <NetworkSection {...props} />
        </div>
      </div>
      {dirty && (
        <div className="settings-bar" role="region" aria-label="Unsaved settings">
          <span className="grow s dim">{plural(Object.keys(patch).length, "change")} not applied yet.</span>
          <Button onClick={() => setDraft(draftOf(config))}>Revert</Button>
          <Button look="primary" refused={applying ? "Applying…" : refused} onClick={() => void apply()}>
            Apply
          </Button>
        </div>
      )}
    </>
  );
}
