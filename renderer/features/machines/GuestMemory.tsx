import Slider from "@mui/material/Slider";
import { useEffect, useState } from "react";
import { leastGuestMemoryMiB, type MachineConfig, type MachineInfo } from "../../../core/contract/model";
import { isLive, refusal } from "../../../core/contract/states";
import { call } from "../../api/client";
import { Button } from "../../ui/Button";
import { formatMiB } from "../../ui/format";
import { attempt } from "../../ui/toasts";

/** A slider's positions: fine enough to aim with, coarse enough to be crossed with the arrow keys. */
const positions = 64;

/** Takes memory from a guest that runs, for other machines, and gives it back. */
export function GuestMemory({ machine, config }: { machine: MachineInfo; config: MachineConfig }) {
  const all = config.memoryMiB;
  const left = Math.min(all, machine.balloonMiB ?? all);
  const [dragged, setDragged] = useState<number | undefined>();
  /** What was asked for and the guest has not come to yet. */
  const [asked, setAsked] = useState<number | undefined>();
  useEffect(() => {
    if (asked !== undefined && Math.abs(asked - left) < tolerance(all)) setAsked(undefined);
  }, [asked, left, all]);

  const capabilities = machine.engine?.capabilities;
  if (!capabilities?.balloon || !isLive(machine.state)) return null;
  const refused = refusal("setBalloon", machine);
  const step = Math.max(1, Math.round(all / positions));
  const least = leastGuestMemoryMiB(all);
  const set = async (memoryMiB: number): Promise<void> => {
    const done = await attempt(() => call("machine.setBalloon", { id: machine.id, memoryMiB }), machine.name);
    setDragged(undefined);
    if (done) setAsked(memoryMiB);
  };
  const value = dragged ?? asked ?? left;
  const taken = all - left;
  return (
    <section className="fact-section" aria-label="Memory for the guest">
      <div className="row section-head">
        <h2 className="h3 grow">Memory for the guest</h2>
        <span className="num" style={{ fontWeight: 550 }}>{formatMiB(value)}</span>
      </div>
      <div className="balloon">
        <Slider
          min={least}
          max={all}
          // The last step up may be a short one; the end itself can always be reached.
          step={step}
          value={value}
          disabled={refused !== undefined}
          aria-label="Memory for the guest"
          getAriaValueText={(memory) => `${formatMiB(memory)} of ${formatMiB(all)}`}
          onChange={(_, memory) => setDragged(memory as number)}
          onChangeCommitted={(_, memory) => void set(memory as number)}
        />
      </div>
      <div className="row" style={{ gap: 8 }}>
        <p className="s dim grow" role="status">
          {refused ?? (asked !== undefined ? `Asked for ${formatMiB(asked)}; the guest has ${formatMiB(left)} now. One without a balloon driver keeps all of it.` : taken === 0 ? `It has all of its ${formatMiB(all)}. What is taken from it, this computer can use.` : `${formatMiB(taken)} of its ${formatMiB(all)} are taken from it.`)}
        </p>
        {refused === undefined && value < all && (
          <Button small onClick={() => void set(all)}>
            Give all back
          </Button>
        )}
      </div>
    </section>
  );
}

/** Guests hand memory over in pages and keep a little; nearer than this is there. */
function tolerance(all: number): number {
  return Math.max(2, all / 128);
}
