import Checkbox from "@mui/material/Checkbox";
import { useEffect, useState } from "react";
import type { CloseAnswer } from "../../core/contract/desktop";
import { Button } from "../ui/Button";
import { plural } from "../ui/format";
import { Modal } from "../ui/Modal";
import { Moon } from "@phosphor-icons/react/dist/csr/Moon";
import { Power } from "@phosphor-icons/react/dist/csr/Power";
import { Play } from "@phosphor-icons/react/dist/csr/Play";

const namesShown = 5;
const ways = [
  { answer: "keep", icon: Play, label: "Keep running", about: "The machines go on without a window. Terrarium finds them again when it is opened." },
  { answer: "save", icon: Moon, label: "Save", about: "Memory and devices are written to disk; the machines go on from there next time." },
  { answer: "shutdown", icon: Power, label: "Shut down", about: "The guests are asked to end in order." },
] as const;

/** Asks what becomes of running machines when the window is closed. */
export function CloseDialog() {
  const [running, setRunning] = useState<readonly { id: string; name: string }[] | undefined>();
  const [remember, setRemember] = useState(false);
  useEffect(() => window.terrarium.onCloseRequested(setRunning), []);
  if (!running) return null;

  const answer = (chosen: CloseAnswer): void => {
    setRunning(undefined);
    void window.terrarium.answerClose(chosen, remember && chosen !== "cancel");
  };
  const more = running.length - namesShown;
  return (
    <Modal
      title={running.length === 1 ? `${running[0]!.name} is running` : `${plural(running.length, "machine")} are running`}
      width={470}
      onClose={() => answer("cancel")}
      actions={
        <>
          <label className="row s dim grow" style={{ gap: 2, marginLeft: -8 }}>
            <Checkbox size="small" checked={remember} onChange={(event) => setRemember(event.target.checked)} /> Do this every time
          </label>
          <Button onClick={() => answer("cancel")}>Cancel</Button>
        </>
      }
    >
      {running.length > 1 && (
        <p className="s dim trunc">
          {running.slice(0, namesShown).map(({ name }) => name).join(", ")}
          {more > 0 && ` and ${more} more`}
        </p>
      )}
      <div className="col" style={{ gap: 8, marginTop: 14 }}>
        {ways.map((way, index) => (
          <button key={way.answer} type="button" className="way" autoFocus={index === 0} onClick={() => answer(way.answer)}>
            <way.icon className="ic l" aria-hidden />
            <span className="grow">
              <b>{way.label}</b>
              <small>{way.about}</small>
            </span>
          </button>
        ))}
      </div>
    </Modal>
  );
}
