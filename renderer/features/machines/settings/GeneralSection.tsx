import type { EngineChoice } from "../../../../core/contract/model";
import { useHost } from "../../../api/hooks";
import { Choice } from "../../../ui/Choice";
import { Field } from "../../../ui/Field";
import { engineName } from "../describe";
import type { SectionProps } from "./sectionProps";

export function GeneralSection({ machine, draft, change, findings, locked }: SectionProps) {
  const engines = useHost()?.engines ?? [];
  const chosen = draft.engine === "auto" && machine.engine ? `Now ${engineName(machine.engine)}. A setting that it has nothing for makes Terrarium choose another.` : undefined;
  return (
    <section className="settings-section" id="settings-general">
      <h2>General</h2>
      <div className="two">
        <Field label="Name" findings={findings("name")}>
          <input className="input" value={draft.name} spellCheck={false} onChange={(event) => change({ name: event.target.value })} />
        </Field>
        <Field label="Group" hint="Machines of one group are listed together." findings={findings("group")}>
          <input className="input" value={draft.group} spellCheck={false} maxLength={120} onChange={(event) => change({ group: event.target.value })} />
        </Field>
      </div>
      <Field label="Engine" hint={locked ?? chosen} findings={findings("engine")} width={273}>
        <Choice<EngineChoice>
          value={draft.engine}
          disabled={locked !== undefined}
          onChange={(engine) => change({ engine })}
          options={[
            { id: "auto", label: "Choose for me", note: "The fastest one that fits this machine on this host." },
            ...engines.map((engine) => ({ id: engine.id, label: engineName(engine), note: engine.problem?.message ?? engine.accelerator?.label, disabled: !engine.available })),
          ]}
        />
      </Field>
    </section>
  );
}
