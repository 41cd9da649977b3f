import { Question } from "@phosphor-icons/react/dist/csr/Question";
import { SealCheck } from "@phosphor-icons/react/dist/csr/SealCheck";
import { Field } from "../../ui/Field";
import { answered, systemIs } from "./draft";
import type { StepProps } from "./step";
import { SystemPicker } from "./SystemPicker";
import { describeRecognised, fullSystemName } from "./words";

/** What system the chosen file holds, and the choice of another. */
export function Recognised({ draft, change, systems }: Pick<StepProps, "draft" | "change" | "systems">) {
  const { inspection } = draft;
  const system = systems.find((candidate) => candidate.id === draft.system);
  if (inspection === undefined || inspection.problem !== undefined || system === undefined) return null;
  const recognised = systems.find((candidate) => candidate.id === inspection.system);
  const Drawing = recognised ? SealCheck : Question;
  return (
    <div className="recognised">
      <div className="row" role="status" style={{ gap: 10, alignItems: "flex-start" }}>
        <Drawing className="ic l" color={recognised ? "var(--leaf)" : "var(--ink-3)"} aria-hidden />
        <div className="grow">
          {recognised ? (
            <b>{describeRecognised(inspection, recognised)}</b>
          ) : (
            <>
              <b>Not recognised</b>
              <div className="s dim">Terrarium cannot tell what system this is.{systemIs(draft) === "guessed" ? ` The machine is given what suits “${fullSystemName(system)}”; choose the system below if you know it.` : ""}</div>
            </>
          )}
        </div>
      </div>
      <Field label="Guest system" hint="Memory, disk and hardware are suggested for it. What you set yourself stays.">
        <SystemPicker systems={systems} value={system.id} onChoose={(id) => change(answered(draft, { system: id }))} />
      </Field>
    </div>
  );
}
