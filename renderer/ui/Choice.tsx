import { CaretDown } from "@phosphor-icons/react/dist/csr/CaretDown";
import MenuItem from "@mui/material/MenuItem";
import Select from "@mui/material/Select";

export interface ChoiceOption<T extends string> {
  readonly id: T;
  readonly label: string;
  /** Behind the label, small: why it is not possible, what it means. */
  readonly note?: string | undefined;
  readonly disabled?: boolean;
}

/** A drop-down choice; takes the props a `Field` gives to its control. */
export function Choice<T extends string>({ value, options, onChange, disabled, id, label, ...rest }: {
  value: T;
  options: readonly ChoiceOption<T>[];
  onChange(value: T): void;
  disabled?: boolean;
  id?: string;
  /** Its name, where no visible label stands above it. */
  label?: string;
  "aria-labelledby"?: string;
  "aria-describedby"?: string;
  "aria-invalid"?: boolean;
}) {
  return (
    <Select
      fullWidth
      IconComponent={Caret}
      value={value}
      labelId={rest["aria-labelledby"]}
      disabled={disabled ?? false}
      onChange={(event) => onChange(event.target.value as T)}
      renderValue={(chosen) => options.find((option) => option.id === chosen)?.label ?? chosen}
      error={rest["aria-invalid"] ?? false}
      slotProps={{ input: { id: id === undefined ? undefined : `${id}-value` } }}
      SelectDisplayProps={{ id, "aria-label": label, "aria-describedby": rest["aria-describedby"] }}
      MenuProps={{ slotProps: { paper: { sx: { marginTop: "4px" } } } }}
    >
      {options.map((option) => (
        <MenuItem key={option.id} value={option.id} disabled={option.disabled ?? false} sx={option.note === undefined ? undefined : { flexDirection: "column", alignItems: "flex-start !important", gap: "1px !important", paddingBlock: "5px !important", maxWidth: 340, whiteSpace: "normal" }}>
          <span>{option.label}</span>
          {option.note !== undefined && <span className="xs faint">{option.note}</span>}
        </MenuItem>
      ))}
    </Select>
  );
}

function Caret({ className }: { className: string }) {
  return <CaretDown className={className} size={14} aria-hidden style={{ top: "calc(50% - 7px)", right: 9 }} />;
}
