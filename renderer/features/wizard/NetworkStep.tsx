import type { AdapterModel } from "../../../core/contract/model";
import { useNetworkSurroundings } from "../../api/network";
import { AttachmentPicker } from "../../ui/network/AttachmentPicker";
import { Advanced } from "./Advanced";
import { answered } from "./draft";
import { Findings } from "./Findings";
import { Options } from "./Options";
import type { StepProps } from "./step";
import { candidates } from "./suggestions";

export function NetworkStep(props: StepProps) {
  const { draft, change, findings } = props;
  const around = useNetworkSurroundings();
  return (
    <>
      <h1>Who should this machine talk to?</h1>
      <p className="lead">Pick where the cable of its first adapter goes. It can be changed later, while the machine runs.</p>
      <div className="col" style={{ gap: 18, maxWidth: 860 }}>
        <AttachmentPicker value={draft.attachment} onChange={(attachment) => change(answered(draft, { attachment }))} around={around} />
        <div className="form">
          <Findings list={findings} />
          <Advanced>
            <Model {...props} />
          </Advanced>
        </div>
      </div>
    </>
  );
}

const modelNotes: Readonly<Record<AdapterModel, readonly [string, string]>> = {
  virtio: ["virtio", "The fastest. Linux and BSD know it; Windows needs a driver first."],
  e1000: ["Intel e1000", "Known to nearly every system."],
};

function Model({ draft, change, host, systems }: StepProps) {
  const engines = candidates(draft, { host, systems });
  return (
    <Options
      label="Network card"
      value={draft.adapterModel}
      onChoose={(adapterModel) => change(answered(draft, { adapterModel }))}
      options={(["virtio", "e1000"] as const).map((model) => ({
        value: model,
        title: modelNotes[model][0],
        note: modelNotes[model][1],
        refused: engines.length === 0 || engines.some((engine) => engine.capabilities.adapterModels.includes(model)) ? undefined : `${engines.map((engine) => engine.label).join(" and ")} has no ${modelNotes[model][0]}.`,
      }))}
    />
  );
}
