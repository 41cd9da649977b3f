import * as z from "zod";
import type { ErrorData } from "./errors";
import { MachineId } from "./model";
import type { HostEvent, StreamRequest } from "./procedures";

/** What belongs to the desktop alone and not to the host service: windows, dialogs, preferences. */

const preference = {
  theme: z.enum(["system", "dark", "light"]),
  /** The key that gives keyboard and pointer back, as `KeyboardEvent.code`. */
  hostKey: z.string().max(40),
  /** How the guest's screen is scaled in its console window. */
  consoleScale: z.enum(["fit", "one"]),
  sidebarCollapsed: z.boolean(),
  selectedMachine: z.string().optional(),
  /** What closing with running machines did last; the dialog offers it first. */
  onClose: z.enum(["ask", "keep", "save", "shutdown"]),
};

/** What is to be changed. It has no defaults: what is not named stays as it is. */
export const PreferencesPatch = z.strictObject(preference).partial();

export const Preferences = z.object({
  ...preference,
  theme: preference.theme.default("system"),
  hostKey: preference.hostKey.default("ControlRight"),
  consoleScale: preference.consoleScale.default("fit"),
  sidebarCollapsed: preference.sidebarCollapsed.default(false),
  onClose: preference.onClose.default("ask"),
});
export type Preferences = z.infer<typeof Preferences>;

export const PickFileOptions = z.object({
  title: z.string(),
  kind: z.enum(["iso", "disk", "kernel", "initrd", "any"]),
});
export type PickFileOptions = z.infer<typeof PickFileOptions>;

export const CloseAnswer = z.enum(["keep", "save", "shutdown", "cancel"]);
export type CloseAnswer = z.infer<typeof CloseAnswer>;

/** A user's name on a guest: no option of a program, and nothing a shell would read. */
export const sshUser = z.string().regex(/^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/, "a user's name begins with a letter and has letters, digits, dots, - and _");

const terminalSize = z.number().int().min(1).max(1000);
/** A login to a guest by ssh, in a terminal of this size. */
export const TerminalRequest = z.strictObject({ id: MachineId, user: sshUser, columns: terminalSize, rows: terminalSize });
export type TerminalRequest = z.infer<typeof TerminalRequest>;
export const TerminalSize = TerminalRequest.pick({ columns: true, rows: true });
export type TerminalSize = z.infer<typeof TerminalSize>;

export const ConsoleView = z.enum(["ssh"]);
export type ConsoleView = z.infer<typeof ConsoleView>;

/** How the connection to the host service stands. */
export type HostConnectionState = { state: "connecting" } | { state: "connected" } | { state: "failed"; error: ErrorData };

/**
 * What the preload script puts on `window.terrarium`. Every method is validated in main: the sender, and the input.
 * Errors arrive as `{ error: ErrorData }`, because a thrown error loses its fields on the way.
 */
export interface DesktopApi {
  /** A call of `procedures`. */
  call(name: string, input: unknown): Promise<{ result: unknown } | { error: ErrorData }>;
  onHostEvent(listener: (event: HostEvent) => void): () => void;
  connection(): Promise<HostConnectionState>;
  onConnection(listener: (state: HostConnectionState) => void): () => void;
  /**
   * Opens a stream. Its MessagePort arrives as a `message` event on `window`, `event.data = { terrariumStream: token }`,
   * `event.ports[0]`. On the port: ArrayBuffers both ways; `{ end: true, error? }` when the stream ended; posting
   * `{ end: true }` closes it.
   */
  openStream(request: StreamRequest, token: string): Promise<{ result: true } | { error: ErrorData }>;

  /** Opens a login to the guest in a terminal; its port arrives as a stream's does, and it ends with it. */
  openTerminal(request: TerminalRequest, token: string): Promise<{ result: true } | { error: ErrorData }>;
  /** Tells the terminal of `token` how large it is shown. */
  resizeTerminal(token: string, size: TerminalSize): Promise<void>;

  preferences(): Promise<Preferences>;
  setPreferences(patch: Partial<Preferences>): Promise<Preferences>;
  onPreferences(listener: (preferences: Preferences) => void): () => void;

  pickFile(options: PickFileOptions): Promise<string | null>;
  /** Asks where, and writes the PNG (base64) there. Answers the path, or null when cancelled. */
  saveScreenshot(suggestedName: string, png: string): Promise<{ result: string | null } | { error: ErrorData }>;
  copyText(text: string): Promise<void>;
  readClipboardText(): Promise<string>;
  /** Shows what a forwarded port of this computer serves, in the person's browser. */
  openInBrowser(address: string, port: number): Promise<{ result: unknown } | { error: ErrorData }>;
  showFolder(machineId: MachineId): Promise<void>;

  /** Opens a machine's console, or brings it to the front; `show` opens its terminal, connected by ssh. */
  openConsole(machineId: MachineId, show?: ConsoleView): Promise<void>;
  /** Another window wants this console to show something. */
  onConsoleView(listener: (show: ConsoleView) => void): () => void;
  /** The buttons of the window this page is in. */
  window(action: "minimize" | "maximize" | "close" | "fullscreen"): Promise<void>;
  onWindowState(listener: (state: { maximized: boolean; fullscreen: boolean; focused: boolean }) => void): () => void;
  /** Main asks whether to close while machines run; the page shows the dialog and answers. */
  onCloseRequested(listener: (running: { id: MachineId; name: string }[]) => void): () => void;
  answerClose(answer: CloseAnswer, remember: boolean): Promise<void>;
  readonly platform: string;
}

declare global {
  interface Window {
    readonly terrarium: DesktopApi;
  }
}
