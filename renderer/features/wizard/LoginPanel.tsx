import { Eye } from "@phosphor-icons/react/dist/csr/Eye";
import { EyeSlash } from "@phosphor-icons/react/dist/csr/EyeSlash";
import { Key } from "@phosphor-icons/react/dist/csr/Key";
import { useId, useRef, useState } from "react";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { toasts } from "../../ui/toasts";
import { Findings } from "./Findings";
import { answered } from "./draft";
import { hasSeed } from "./answers";
import { loginFindings } from "./login";
import { Options } from "./Options";
import type { StepProps } from "./step";
import { candidates } from "./suggestions";

/** Nobody's public keys are longer; what is, is another file. */
const maxKeyFileBytes = 256 * 1024;

/** Who can log in to a disk image: whom it knows, or for a cloud image whom cloud-init makes at the first boot. */
export function LoginPanel({ draft, change, findings, host, systems }: StepProps) {
  const engines = candidates(draft, { host, systems });
  const without = engines.length > 0 && !engines.some((engine) => engine.capabilities.seed) ? `${engines.map((engine) => engine.label).join(" and ")} cannot show these settings to a guest. It takes another engine.` : undefined;
  return (
    <div className="login" role="group" aria-label="First login">
      <Options
        label="First login"
        value={draft.login}
        onChoose={(login) => change(answered(draft, { login }))}
        options={[
          { value: "cloud-init", title: "Set it up at the first boot", note: "For cloud images: cloud-init in the image makes the user that you name here.", refused: without },
          { value: "own", title: "The image has its own login", note: "Nothing is set up; you know how to get in." },
        ]}
        findings={findings.filter((finding) => finding.field === "seed" || finding.field.startsWith("seed."))}
      />
      {hasSeed(draft) && <Account draft={draft} change={change} />}
    </div>
  );
}

function Account({ draft, change }: Pick<StepProps, "draft" | "change">) {
  const wrong = loginFindings(draft);
  const of = (field: string) => wrong.filter((finding) => finding.field === field);
  const [shown, setShown] = useState(false);
  const passwordId = useId();
  return (
    <>
      <div className="two">
        <Field label="User name" findings={of("user")}>
          <input className="input" value={draft.user} spellCheck={false} autoComplete="off" maxLength={64} onChange={(event) => change(answered(draft, { user: event.target.value }))} />
        </Field>
        <Field label="Host name" findings={of("hostname")}>
          <input className="input" value={draft.hostname} spellCheck={false} autoComplete="off" maxLength={64} onChange={(event) => change(answered(draft, { hostname: event.target.value }))} />
        </Field>
      </div>
      <div className="field">
        <label htmlFor={passwordId}>Password</label>
        <div className="row" style={{ gap: 8 }}>
          <input id={passwordId} className="input" type={shown ? "text" : "password"} value={draft.password} autoComplete="new-password" spellCheck={false} aria-describedby={`${passwordId}-notes`} onChange={(event) => change({ ...draft, password: event.target.value })} />
          <Button icon={shown ? EyeSlash : Eye} aria-label={shown ? "Hide the password" : "Show the password"} aria-pressed={shown} onClick={() => setShown(!shown)} />
        </div>
        <div id={`${passwordId}-notes`} className="hint">
          {of("access").length > 0 ? of("access")[0]?.message : "Only its hash is written to the machine’s folder."}
          <Findings list={of("password")} />
        </div>
      </div>
      <Keys draft={draft} change={change} findings={of("keys")} />
    </>
  );
}

function Keys({ draft, change, findings }: Pick<StepProps, "draft" | "change" | "findings">) {
  const files = useRef<HTMLInputElement>(null);
  const id = useId();
  const add = async (file: File): Promise<void> => {
    if (file.size > maxKeyFileBytes) {
      toasts.show({ level: "error", message: `${file.name} is too long for a file of public keys.`, remedy: "Choose the file that ends in .pub." });
      return;
    }
    const text = (await file.text()).trim();
    change({ ...draft, keys: draft.keys.trim() === "" ? text : `${draft.keys.trimEnd()}\n${text}` });
  };
  return (
    <div className="field">
      <label htmlFor={id}>SSH public keys</label>
      <textarea id={id} className="input mono" rows={3} wrap="off" spellCheck={false} value={draft.keys} placeholder="ssh-ed25519 AAAA… you@computer" aria-describedby={`${id}-notes`} aria-invalid={findings.length > 0 || undefined} onChange={(event) => change({ ...draft, keys: event.target.value })} />
      <div id={`${id}-notes`} className="hint">
        One on each line.
        <Findings list={findings} />
      </div>
      <div>
        <Button small icon={Key} onClick={() => files.current?.click()}>
          Add from a file…
        </Button>
        <input
          ref={files}
          type="file"
          hidden
          accept=".pub,.txt,text/plain"
          aria-label="File of public keys"
          onChange={(event) => {
            const file = event.target.files?.[0];
            // The same file may be chosen again.
            event.target.value = "";
            if (file) void add(file);
          }}
        />
      </div>
    </div>
  );
}
