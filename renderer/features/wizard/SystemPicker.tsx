import { CaretDown } from "@phosphor-icons/react/dist/csr/CaretDown";
import Autocomplete from "@mui/material/Autocomplete";
import { useMemo } from "react";
import type { GuestSystem } from "../../../core/contract/model";

/** A list of guest systems by kind, searched by typing; takes the props a `Field` gives to its control. */
export function SystemPicker({ systems, value, onChoose, id, ...rest }: {
  systems: readonly GuestSystem[];
  value: string | undefined;
  onChoose(id: string): void;
  id?: string;
  "aria-labelledby"?: string;
  "aria-describedby"?: string;
}) {
  const grouped = useMemo(() => byGroup(systems), [systems]);
  const chosen = grouped.find((system) => system.id === value);
  return (
    <Autocomplete
      id={id}
      options={grouped}
      value={chosen as GuestSystem}
      disableClearable
      autoHighlight
      fullWidth
      groupBy={groupOf}
      getOptionLabel={(system) => system.label}
      getOptionKey={(system) => system.id}
      isOptionEqualToValue={(a, b) => a.id === b.id}
      noOptionsText="No system of that name. “Other system” suits any."
      onChange={(_, system) => onChoose(system.id)}
      slotProps={{ paper: { className: "systems" }, listbox: { "aria-label": "Guest systems" } }}
      renderGroup={({ key, group, children }) => (
        <li key={key} role="none">
          <div className="group" aria-hidden>{group}</div>
          <ul role="group" aria-label={group}>{children}</ul>
        </li>
      )}
      renderInput={({ slotProps: { input, htmlInput } }) => (
        <div ref={input.ref} className="picker" onMouseDown={input.onMouseDown}>
          <input {...htmlInput} {...rest} className="input" />
          <CaretDown className="ic xs" aria-hidden />
        </div>
      )}
    />
  );
}

function groupOf(system: GuestSystem): string {
  return system.group ?? "Systems";
}

/** Groups in the order in which they first appear, what suits anything at the end. */
function byGroup(systems: readonly GuestSystem[]): GuestSystem[] {
  const groups = [...new Set(systems.map(groupOf))].sort((a, b) => Number(a === "Other") - Number(b === "Other"));
  return groups.flatMap((group) => systems.filter((system) => groupOf(system) === group));
}
