import type { Chipset, FirmwareKind } from "../../../../core/contract/model";
import { Choice, type ChoiceOption } from "../../../ui/Choice";
import { Field } from "../../../ui/Field";
import { chipsetNames, firmwareNames } from "../describe";
import { choicesOf } from "./choices";
import type { HardwareDraft } from "./hardwareDraft";
import type { SectionProps } from "./sectionProps";

const clockNames = { utc: "UTC", local: "Local time" } as const;
const clockNotes = { utc: "What Linux, BSD and macOS expect.", local: "What Windows expects." } as const;
const firmwareNotes = { bios: "Starts everything but the newest systems.", uefi: "What new systems expect. It keeps its own boot entries." } as const;
const chipsetNotes = { q35: "The one to use: PCI Express and AHCI.", pc: "For systems from before 2008." } as const;

/** Firmware, chipset and clock, each where the engine has more than one. */
export function HardwareFields({ draft, change, findings, locked, offer }: SectionProps) {
  const { hardware } = draft;
  const set = (part: Partial<HardwareDraft>): void => change({ hardware: { ...hardware, ...part } });
  const disabled = locked !== undefined;

  const firmwares = choicesOf<FirmwareKind>(offer.firmwares, firmwareNames, hardware.firmware, firmwareNotes);
  if (offer.lacksFirmware && hardware.firmware !== "uefi") firmwares.push({ id: "uefi", label: firmwareNames.uefi, note: "Not installed here; “This computer” says what to install.", disabled: true });
  const standard: ChoiceOption<"standard"> = { id: "standard", label: "Standard", note: offer.standardChipset ? chipsetNames[offer.standardChipset] : "What the engine takes by itself." };
  const chipsets: ChoiceOption<Chipset | "standard">[] = [standard, ...(hardware.chipset === "standard" ? choicesOf(offer.chipsets, chipsetNames, offer.chipsets[0] ?? "pc", chipsetNotes) : choicesOf(offer.chipsets, chipsetNames, hardware.chipset, chipsetNotes))];
  const withClock = offer.expertSettings || hardware.clock !== "utc";
  const withChipset = offer.chipsets.length > 1 || hardware.chipset !== "standard";
  if (firmwares.length < 2 && !withChipset && !withClock) return null;
  return (
    <div className="two">
      {firmwares.length > 1 && (
        <Field label="Firmware" findings={findings("hardware.firmware")}>
          <Choice<FirmwareKind> value={hardware.firmware} disabled={disabled} onChange={(firmware) => set({ firmware })} options={firmwares} />
        </Field>
      )}
      {withChipset && (
        <Field label="Chipset" findings={findings("hardware.chipset")}>
          <Choice<Chipset | "standard"> value={hardware.chipset} disabled={disabled} onChange={(chipset) => set({ chipset })} options={chipsets} />
        </Field>
      )}
      {withClock && (
        <Field label="Hardware clock" findings={findings("hardware.clock")}>
          <Choice<"utc" | "local"> value={hardware.clock} disabled={disabled} onChange={(clock) => set({ clock })} options={choicesOf(["utc", "local"], clockNames, hardware.clock, clockNotes)} />
        </Field>
      )}
    </div>
  );
}
