import { useState } from "react";
import type { Attachment } from "../../../../core/contract/network";
import { useNetworkSurroundings } from "../../../api/network";
import { Button } from "../../../ui/Button";
import { Modal } from "../../../ui/Modal";
import { AttachmentPicker } from "../../../ui/network/AttachmentPicker";
import { attachmentLack, modeProblem } from "../../../ui/network/modes";

/** Asks where an adapter's cable is to go. */
export function AttachDialog({ adapter, attachment, live, onAttach, onClose }: { adapter: number; attachment: Attachment; live: boolean; onAttach(attachment: Attachment): void; onClose(): void }) {
  const [chosen, setChosen] = useState(attachment);
  const around = useNetworkSurroundings();
  const same = chosen.mode === attachment.mode && chosen.network === attachment.network;
  const refused = attachmentLack(chosen) ?? modeProblem(chosen.mode, around.modes)?.reason ?? (same ? "The cable is there already." : undefined);
  return (
    <Modal
      title={`Where should net${adapter} be plugged in?`}
      width={760}
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            look="primary"
            refused={refused}
            onClick={() => {
              onAttach(chosen);
              onClose();
            }}
          >
            {live ? "Plug in now" : "Plug in"}
          </Button>
        </>
      }
    >
      {live && <p className="dim" style={{ marginBottom: 14 }}>The guest notices at once. Connections over the network it leaves end.</p>}
      <AttachmentPicker value={chosen} onChange={setChosen} around={around} />
    </Modal>
  );
}
