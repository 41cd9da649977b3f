import { useState } from "react";
import type { Preferences } from "../../../core/contract/desktop";
import { usePreferences, useStore } from "../../api/hooks";
import { Button } from "../../ui/Button";
import { Choice } from "../../ui/Choice";
import { Field } from "../../ui/Field";
import { keyName } from "../../ui/keyName";
import { Page } from "../../ui/Page";
import { Segments } from "../../ui/Segments";
import { attempt } from "../../ui/toasts";

/** Keys that make no good host key: the guest needs them for itself. */
const guestKeys = /^(Key|Digit|Numpad|Arrow|Enter|Space|Tab|Backspace|Escape|Delete)/;

/** What belongs to this computer's desktop and not to any machine. */
export default function PreferencesPage({ windowButtons }: { windowButtons: React.ReactNode }) {
  const preferences = usePreferences();
  const store = useStore();
  const set = (patch: Partial<Preferences>): void => void attempt(() => store.setPreferences(patch));
  return (
    <Page title="Preferences" windowButtons={windowButtons}>
      <div className="col" style={{ gap: 24 }}>
        <div className="field">
          <span className="label">Theme</span>
          <div>
            <Segments<Preferences["theme"]>
              label="Theme"
              value={preferences.theme}
              onChange={(theme) => set({ theme })}
              options={[{ id: "system", label: "As the system" }, { id: "dark", label: "Dark" }, { id: "light", label: "Light" }]}
            />
          </div>
        </div>
        <HostKey code={preferences.hostKey} onChange={(hostKey) => set({ hostKey })} />
        <div className="field">
          <span className="label">Consoles</span>
          <div>
            <Segments<Preferences["consoleScale"]>
              label="Size of the guest's screen"
              value={preferences.consoleScale}
              onChange={(consoleScale) => set({ consoleScale })}
              options={[{ id: "fit", label: "Fit the window" }, { id: "one", label: "One to one" }]}
            />
          </div>
          <span className="hint">How a guest&apos;s screen is shown in its console window.</span>
        </div>
        <Field label="When the window is closed while machines run" width={320}>
          <Choice<Preferences["onClose"]>
            value={preferences.onClose}
            onChange={(onClose) => set({ onClose })}
            options={[
              { id: "ask", label: "Ask" },
              { id: "keep", label: "Keep them running" },
              { id: "save", label: "Save them" },
              { id: "shutdown", label: "Shut them down" },
            ]}
          />
        </Field>
      </div>
    </Page>
  );
}

function HostKey({ code, onChange }: { code: string; onChange(code: string): void }) {
  const [listening, setListening] = useState(false);
  return (
    <div className="field">
      <span className="label">Host key</span>
      <div className="row" style={{ gap: 10 }}>
        <span className="kbd">{keyName(code)}</span>
        <Button
          small
          className={listening ? "on" : ""}
          onClick={() => setListening((before) => !before)}
          onBlur={() => setListening(false)}
          onKeyDown={(event) => {
            if (!listening) return;
            event.preventDefault();
            event.stopPropagation();
            if (event.key === "Escape") setListening(false);
            else if (!guestKeys.test(event.code) && event.code !== "") {
              setListening(false);
              onChange(event.code);
            }
          }}
        >
          {listening ? "Press a key, Escape to keep it" : "Change"}
        </Button>
      </div>
      <span className="hint">Gives keyboard and pointer back from a guest. A key the guest does not need: a right-hand modifier, a function key, Pause.</span>
    </div>
  );
}
