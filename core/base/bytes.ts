/** Sizes in bytes. */
export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;
export const TiB = 1024 * GiB;

/**
 * Reads a size a person typed: `512`, `512M`, `2G`, `1.5 GiB`. A bare number counts in `unit` bytes.
 * Returns undefined for anything else, and for sizes that are not a whole number of bytes.
 */
export function parseSize(text: string, unit = 1): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([kmgt])?(?:i?b)?\s*$/i.exec(text);
  if (!match) return undefined;
  const scale = { k: KiB, m: MiB, g: GiB, t: TiB }[(match[2] ?? "").toLowerCase()] ?? unit;
  const bytes = Number(match[1]) * scale;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** A size for people, binary units under their everyday names: `812 MB`, `2 GB`, `1.5 GB`. */
export function formatSize(bytes: number): string {
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const rounded = value >= 10 || Number.isInteger(value) ? Math.round(value) : Math.round(value * 10) / 10;
  return `${rounded} ${units[unit]}`;
}
