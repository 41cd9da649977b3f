import Dialog from "@mui/material/Dialog";
import { useId, type ReactNode } from "react";

/** A dialog with a title, what it is about, and its actions at the lower right. Escape closes it. */
export function Modal({ title, children, actions, onClose, width = 440 }: { title: string; children: ReactNode; actions: ReactNode; onClose(): void; width?: number }) {
  const titleId = useId();
  return (
    <Dialog open onClose={onClose} aria-labelledby={titleId} slotProps={{ paper: { sx: { width, maxWidth: "calc(100vw - 48px)" } } }}>
      <div style={{ padding: "20px 22px 0", overflow: "auto" }}>
        <h2 id={titleId} style={{ marginBottom: 8 }}>{title}</h2>
        {children}
      </div>
      <div className="row" style={{ justifyContent: "flex-end", gap: 8, padding: "18px 22px 18px", flexWrap: "wrap" }}>{actions}</div>
    </Dialog>
  );
}
