import { useState } from "react";
import { Button } from "../../ui/Button";
import { Modal } from "../../ui/Modal";

/** Asks for a text to type on the guest's keyboard: for passwords and commands where nothing can be pasted. */
export function TypeTextDialog({ onType, onClose }: { onType(text: string): void; onClose(): void }) {
  const [text, setText] = useState("");
  const paste = (): void => {
    void window.terrarium.readClipboardText().then((clipboard) => setText((typed) => typed + clipboard));
  };
  return (
    <Modal
      title="Type text"
      onClose={onClose}
      actions={
        <>
          <Button onClick={paste} style={{ marginRight: "auto" }}>
            Paste
          </Button>
          <Button onClick={onClose}>Cancel</Button>
          <Button look="primary" refused={text === "" ? "Write something first." : undefined} onClick={() => onType(text)}>
            Type
          </Button>
        </>
      }
    >
      <div className="field">
        <label htmlFor="text-to-type">Text for the guest's keyboard</label>
        <textarea
          id="text-to-type"
          className="input mono"
          rows={4}
          autoFocus
          value={text}
          maxLength={10_000}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && text !== "") onType(text);
          }}
        />
        <div className="hint">Typed key by key as on a US keyboard; a line break is Enter. Ctrl+Enter types it.</div>
      </div>
    </Modal>
  );
}
