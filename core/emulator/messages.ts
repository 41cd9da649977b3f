import type { ScreenMessage } from "./screen";
import type { MachineArguments } from "./argv";
import type { CoreFiles } from "./compiledCore";

/**
 * What the machine process's main thread and the worker that emulates say to each other. Bulk bytes (serial output,
 * frames) travel in batches whose buffers are transferred; requests carry a number and are answered by a `reply`.
 */
export interface WorkerStart {
  readonly machine: MachineArguments;
  readonly bios: Uint8Array;
  readonly vgaBios: Uint8Array;
  readonly kernel?: Uint8Array;
  readonly initrd?: Uint8Array;
  readonly core: CoreFiles;
  /** Links that differ from the command line since `set_link`, by adapter. */
  readonly links: readonly boolean[];
  /** The CD's medium, which may have been changed since the start. */
  readonly medium: string | null;
  /** The machine is made again for a reset: a medium that has gone since leaves the drive empty instead of failing. */
  readonly again: boolean;
}

/** What the worker is asked, with the answer's type. */
export interface Requests {
  stop: { input: null; output: null };
  run: { input: null; output: null };
  /** Finishes what is in flight, flushes and closes the disks. The worker is of no use afterwards. */
  close: { input: null; output: null };
  save: { input: { path: string; compress: boolean }; output: StateProgress };
  load: { input: { path: string }; output: StateProgress };
  medium: { input: { path: string | null }; output: null };
  powerButton: { input: null; output: null };
  statistics: { input: null; output: Statistics };
  /** Draws now, whatever the screen's own pace, so that a screenshot shows the present. */
  refreshScreen: { input: null; output: null };
  /** Writes the state and the registers into the directory. */
  dump: { input: { directory: string }; output: null };
}
export type RequestName = keyof Requests;

export interface StateProgress {
  /** Bytes of guest memory, and of those the bytes of pages that are not zero. */
  readonly memory: number;
  readonly stored: number;
  /** Bytes of the file. */
  readonly file: number;
  readonly milliseconds: number;
}

export interface DiskStatistics {
  readonly id: string;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly reads: number;
  readonly writes: number;
  readonly flushes: number;
  readonly failedReads: number;
  readonly failedWrites: number;
  readonly failedFlushes: number;
}

export interface AdapterStatistics {
  readonly id: string;
  /** The address that the guest's driver uses. */
  readonly mac: string;
  readonly link: boolean;
  /** Whether the guest's driver has the adapter in use. */
  readonly driver: boolean;
  readonly sentFrames: number;
  readonly sentBytes: number;
  readonly receivedFrames: number;
  readonly receivedBytes: number;
  readonly droppedFrames: number;
}

export interface Statistics {
  readonly instructions: number;
  /** Milliseconds the guest has been running, pauses left out. */
  readonly guestMilliseconds: number;
  readonly disks: readonly DiskStatistics[];
  readonly adapters: readonly AdapterStatistics[];
  readonly absolutePointer: boolean;
}

export type ToWorker =
  | { [Name in RequestName]: { type: "request"; id: number; name: Name; input: Requests[Name]["input"] } }[RequestName]
  | { type: "serialInput"; port: 0 | 1; data: Uint8Array }
  /** `bytes` of serial output have left the process. */
  | { type: "serialDrained"; port: 0 | 1; bytes: number }
  | { type: "frames"; adapter: number; batch: Uint8Array }
  /** `bytes` of frames have left the process. */
  | { type: "framesDrained"; adapter: number; bytes: number }
  /** Whether anybody is plugged into the adapter's socket; without a peer frames are dropped at once. */
  | { type: "peer"; adapter: number; present: boolean }
  | { type: "link"; adapter: number; up: boolean }
  | { type: "cancelSave" }
  | InputMessage;

/** What a keyboard and a mouse do. */
export type InputMessage =
  | { type: "scancodes"; bytes: number[] }
  | { type: "pointer"; x: number; y: number; width: number; height: number }
  | { type: "relative"; dx: number; dy: number }
  | { type: "buttons"; left: boolean; middle: boolean; right: boolean }
  | { type: "wheel"; delta: number };

export interface DiskFailure {
  readonly disk: string;
  readonly operation: "read" | "write";
  /** `stop`: the guest has been stopped and the request waits for `run`; `report`: the guest was told. */
  readonly action: "stop" | "report";
  readonly noSpace: boolean;
  readonly reason: string;
}

export type FromWorker =
  | { type: "log"; level: "info" | "warn"; message: string }
  /** The machine is made; `medium` is what the CD drive has. */
  | { type: "ready"; medium: string | null }
  /** It cannot be made. The worker answers nothing from then on. */
  | { type: "failed"; message: string }
  | { type: "reply"; id: number; ok: true; value: unknown }
  | { type: "reply"; id: number; ok: false; message: string }
  | { type: "serialOutput"; port: 0 | 1; data: Uint8Array }
  /** `bytes` of serial input have reached the guest. */
  | { type: "serialTaken"; port: 0 | 1; bytes: number }
  | { type: "frames"; adapter: number; batch: Uint8Array }
  | { type: "framesTaken"; adapter: number; bytes: number }
  | { type: "screen"; message: ScreenMessage }
  | { type: "diskFailure"; failure: DiskFailure }
  | { type: "stateProgress"; done: number; total: number }
  /** Whether the guest's driver follows an absolute pointer. */
  | { type: "absolutePointer"; enabled: boolean }
  | { type: "reset" }
  | { type: "powerOff" }
  /** The emulator itself failed; the machine cannot go on. */
  | { type: "crashed"; message: string; stack: string; registers: string };
