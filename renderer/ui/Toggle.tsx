import Switch from "@mui/material/Switch";
import Tooltip from "@mui/material/Tooltip";

/** An on-off switch. While refused it stays focusable, does nothing, and says why. */
export function Toggle({ checked, onChange, label, refused, id }: { checked: boolean; onChange(checked: boolean): void; label: string; refused?: string | undefined; id?: string }) {
  const control = (
    <Switch
      checked={checked}
      onChange={(event) => refused === undefined && onChange(event.target.checked)}
      slotProps={{ input: { role: "switch", "aria-label": label, "aria-disabled": refused !== undefined || undefined, id } }}
      sx={refused === undefined ? undefined : { opacity: 0.5 }}
    />
  );
  return <Tooltip title={refused ?? ""}>{control}</Tooltip>;
}
