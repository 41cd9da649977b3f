import { Minus } from "@phosphor-icons/react/dist/csr/Minus";
import { Square } from "@phosphor-icons/react/dist/csr/Square";
import { CopySimple } from "@phosphor-icons/react/dist/csr/CopySimple";
import { X } from "@phosphor-icons/react/dist/csr/X";

/** Minimize, maximize, close: the window has no frame of the system. */
export function WindowButtons({ maximized, act }: { maximized: boolean; act(action: "minimize" | "maximize" | "close"): void }) {
  return (
    <div className="wc no-drag" role="group" aria-label="Window">
      <button type="button" aria-label="Minimize" onClick={() => act("minimize")}>
        <Minus className="ic xs" aria-hidden />
      </button>
      <button type="button" aria-label={maximized ? "Restore size" : "Maximize"} onClick={() => act("maximize")}>
        {maximized ? <CopySimple className="ic xs" aria-hidden /> : <Square className="ic xs" aria-hidden />}
      </button>
      <button type="button" className="close" aria-label="Close" onClick={() => act("close")}>
        <X className="ic xs" aria-hidden />
      </button>
    </div>
  );
}
