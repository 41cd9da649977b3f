import type { MachineState } from "../../core/contract/model";

const units = ["bytes", "KB", "MB", "GB", "TB"];

/** A size for people, binary units under their everyday names: `812 MB`, `2 GB`, `1.5 GB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const rounded = value >= 10 || Number.isInteger(value) ? Math.round(value) : Math.round(value * 10) / 10;
  return `${rounded} ${units[unit]}`;
}

export function formatMiB(mebibytes: number): string {
  // A limit of 2047 is not one of 2 GB; with whole computers it does not matter.
  const tenths = (mebibytes / 1024) * 10;
  return mebibytes < 8192 && !Number.isInteger(tenths) ? `${Math.round(mebibytes)} MB` : formatBytes(mebibytes * 1024 * 1024);
}

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

/** How long something lasts: `12 s`, `4 min`, `2 h 41 min`, `3 days`. `ms` may be a little negative: clocks differ. */
export function formatDuration(ms: number): string {
  if (ms < minute) return `${Math.max(0, Math.floor(ms / second))} s`;
  if (ms < hour) return `${Math.floor(ms / minute)} min`;
  if (ms < day) {
    const minutes = Math.floor((ms % hour) / minute);
    return minutes === 0 ? `${Math.floor(ms / hour)} h` : `${Math.floor(ms / hour)} h ${minutes} min`;
  }
  const days = Math.floor(ms / day);
  return days === 1 ? "1 day" : `${days} days`;
}

const dayAndMonth = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const withYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const timeOfDay = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

/** When something happened: `just now`, `4 min ago`, `14:02`, `yesterday`, `12 Nov`. */
export function formatWhen(at: number, now: number): string {
  const age = now - at;
  if (age < minute) return "just now";
  if (age < hour) return `${Math.floor(age / minute)} min ago`;
  const then = new Date(at);
  const today = new Date(now);
  if (then.toDateString() === today.toDateString()) return timeOfDay.format(then);
  if (then.toDateString() === new Date(now - day).toDateString()) return "yesterday";
  return then.getFullYear() === today.getFullYear() ? dayAndMonth.format(then) : withYear.format(then);
}

export const stateNames: Readonly<Record<MachineState, string>> = {
  off: "Off",
  starting: "Starting",
  running: "Running",
  paused: "Paused",
  saved: "Saved",
  stopping: "Shutting down",
  crashed: "Crashed",
  broken: "Unusable",
};

/** `one machine`, `3 machines`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return count === 1 ? `1 ${one}` : `${count} ${many}`;
}
