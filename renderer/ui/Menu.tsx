import MuiMenu from "@mui/material/Menu";
import MenuItem from "@mui/material/MenuItem";
import type { Icon } from "@phosphor-icons/react";
import { useId, useState, type ReactElement } from "react";
import "./ui.css";

export interface MenuEntry {
  readonly label: string;
  readonly icon?: Icon;
  readonly keys?: string;
  readonly danger?: boolean;
  /** Why it is not possible now; it can still be reached and read. */
  readonly refused?: string | undefined;
  readonly selected?: boolean;
  readonly run: () => void;
}

/** A button's menu. `trigger` receives what makes it the menu's button. */
export function Menu({ trigger, entries, label, align = "left" }: {
  trigger(props: { onClick: (event: React.MouseEvent<HTMLElement>) => void; "aria-haspopup": "menu"; "aria-expanded": boolean; "aria-controls": string | undefined }): ReactElement;
  /** `null` draws a line. */
  entries: readonly (MenuEntry | null)[];
  label: string;
  align?: "left" | "right";
}) {
  const [anchor, setAnchor] = useState<HTMLElement | null>(null);
  const id = useId();
  return (
    <>
      {trigger({ onClick: (event) => setAnchor(event.currentTarget), "aria-haspopup": "menu", "aria-expanded": anchor !== null, "aria-controls": anchor ? id : undefined })}
      <MuiMenu
        id={id}
        anchorEl={anchor}
        open={anchor !== null}
        onClose={() => setAnchor(null)}
        anchorOrigin={{ vertical: "bottom", horizontal: align }}
        transformOrigin={{ vertical: "top", horizontal: align }}
        slotProps={{ list: { "aria-label": label, dense: true }, paper: { sx: { marginTop: "5px", minWidth: 190 } } }}
      >
        {entries.map((entry, index) =>
          entry === null ? (
            <li key={index} role="separator" className="hr" style={{ margin: "5px 6px" }} />
          ) : (
            <MenuItem
              key={entry.label}
              className={entry.danger ? "danger" : undefined}
              selected={entry.selected ?? false}
              aria-disabled={entry.refused !== undefined || undefined}
              onClick={() => {
                if (entry.refused !== undefined) return;
                setAnchor(null);
                entry.run();
              }}
              sx={entry.refused === undefined ? undefined : { flexDirection: "column", alignItems: "flex-start !important", gap: "0 !important", paddingBlock: "5px !important", maxWidth: 260, whiteSpace: "normal" }}
            >
              <span className="row" style={{ gap: 10, width: "100%" }}>
                {entry.icon && <entry.icon className="ic" aria-hidden />}
                <span className="grow">{entry.label}</span>
                {entry.keys !== undefined && <span className="kbd">{entry.keys}</span>}
              </span>
              {entry.refused !== undefined && <span className="xs faint" style={{ paddingLeft: entry.icon ? 26 : 0 }}>{entry.refused}</span>}
            </MenuItem>
          ),
        )}
      </MuiMenu>
    </>
  );
}
