import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { BrowserWindow, MessageChannelMain, app, clipboard, dialog, ipcMain, shell, type FileFilter, type IpcMainInvokeEvent } from "electron";
import * as z from "zod";
import type { Log } from "../core/base/log";
import { CloseAnswer, ConsoleView, PickFileOptions, PreferencesPatch, TerminalRequest, TerminalSize } from "../core/contract/desktop";
import { TerrariumError, toErrorData, type ErrorData } from "../core/contract/errors";
import { MachineId } from "../core/contract/model";
import { Ipv4Text } from "../core/contract/network";
import { StreamRequest } from "../core/contract/procedures";
import { requests, type RequestName } from "./channels";
import type { Closing } from "./closing";
import type { HostLink } from "./host";
import type { PreferenceStore } from "./preferences";
import type { PtyStream } from "./pseudoTerminal";
import { isOwnPage } from "./security";
import { joinPort } from "./streams";
import type { Terminals } from "./terminals";
import { facts } from "./channels";
import { windowState, type Windows } from "./windows";

/*
 * What a page may ask of main (contract/desktop.ts). Every request says who it may come from (a page of ours, in the
 * main frame of a window of ours) and what it may carry (a schema); the answer is a result or an error as data.
 */

export interface Surroundings {
  readonly host: HostLink;
  readonly windows: Windows;
  readonly preferences: PreferenceStore;
  readonly closing: Closing;
  readonly terminals: Terminals;
  readonly log: Log;
}

interface Handler<A extends z.ZodType> {
  readonly args: A;
  handle(args: z.output<A>, window: BrowserWindow): unknown;
}

function handler<A extends z.ZodType>(args: A, handle: (args: z.output<A>, window: BrowserWindow) => unknown): Handler<z.ZodType> {
  return { args, handle: handle as (args: unknown, window: BrowserWindow) => unknown };
}

const nothing = z.tuple([]);
/** 64 MiB of PNG; a screen of 4096 x 2160 has at most half of that. */
const maxPngBase64 = 88 << 20;
const pngStart = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

const filters: Record<PickFileOptions["kind"], FileFilter[]> = {
  iso: [{ name: "CD images", extensions: ["iso"] }],
  disk: [{ name: "Disk images", extensions: ["img", "raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx"] }],
  kernel: [],
  initrd: [{ name: "Initial RAM disks", extensions: ["img", "cpio", "gz", "xz", "zst"] }],
  any: [],
};

/** Gives the page of a window a port that leads to the stream. */
function handOver(stream: Duplex, window: BrowserWindow, token: string): void {
  if (window.isDestroyed()) {
    stream.destroy();
    return;
  }
  const { port1, port2 } = new MessageChannelMain();
  joinPort(port1, stream);
  window.webContents.postMessage(facts.stream, { token }, [port2]);
}

function handlers({ host, windows, preferences, closing, terminals }: Surroundings): Record<RequestName, Handler<z.ZodType>> {
  /** Terminals by the window that shows them and its token for them. */
  const shown = new Map<string, PtyStream>();
  const terminalKey = (window: BrowserWindow, token: string): string => `${window.id} ${token}`;
  return {
    call: handler(z.tuple([z.string().max(100), z.unknown()]), ([name, input]) => host.call(name, input)),
    connection: handler(nothing, () => host.state),
    openStream: handler(z.tuple([StreamRequest, z.string().min(1).max(100)]), async ([request, token], window) => {
      handOver(await host.openStream(request), window, token);
      return true;
    }),
    openTerminal: handler(z.tuple([TerminalRequest, z.string().min(1).max(100)]), async ([request, token], window) => {
      const terminal = await terminals.open(request);
      shown.set(terminalKey(window, token), terminal);
      terminal.on("close", () => shown.delete(terminalKey(window, token)));
      handOver(terminal, window, token);
      return true;
    }),
    resizeTerminal: handler(z.tuple([z.string().min(1).max(100), TerminalSize]), ([token, { columns, rows }], window) => {
      // One that has just ended has no size any more.
      shown.get(terminalKey(window, token))?.setSize(columns, rows);
    }),

    preferences: handler(nothing, () => preferences.preferences),
    setPreferences: handler(z.tuple([PreferencesPatch]), ([patch]) => preferences.set(patch)),

    pickFile: handler(z.tuple([PickFileOptions]), async ([{ title, kind }], window) => {
      const known = filters[kind];
      const picked = await dialog.showOpenDialog(window, { title, properties: ["openFile"], ...(known.length === 0 ? {} : { filters: [...known, { name: "All files", extensions: ["*"] }] }) });
      return picked.canceled ? null : (picked.filePaths[0] ?? null);
    }),
    saveScreenshot: handler(z.tuple([z.string().min(1).max(200), z.string().max(maxPngBase64)]), async ([name, base64], window) => {
      const png = Buffer.from(base64, "base64");
      if (!png.subarray(0, pngStart.length).equals(pngStart)) throw new TerrariumError("invalid-input", "The screenshot is not a PNG picture.");
      const { canceled, filePath } = await dialog.showSaveDialog(window, { title: "Save screenshot", defaultPath: join(app.getPath("pictures"), safeFileName(name)), filters: [{ name: "PNG picture", extensions: ["png"] }] });
      if (canceled || !filePath) return null;
      try {
        await writeFile(filePath, png);
      } catch (error) {
        throw new TerrariumError("io", `The screenshot could not be written to ${filePath}: ${(error as Error).message}.`, "Choose another place, or free some space.", { cause: error });
      }
      return filePath;
    }),
    copyText: handler(z.tuple([z.string().max(16 << 20)]), ([text]) => clipboard.writeText(text)),
    readClipboardText: handler(nothing, () => clipboard.readText()),
    showFolder: handler(z.tuple([MachineId]), async ([id]) => {
      const { folder } = await host.ask("machine.get", { id });
      const problem = await shell.openPath(folder);
      if (problem !== "") throw new TerrariumError("io", `The folder ${folder} could not be shown: ${problem}.`, "Open it in a file manager.");
    }),

    // An address and a port, and no URL: nothing else can be opened from a page.
    openInBrowser: handler(z.tuple([Ipv4Text, z.number().int().min(1).max(65_535)]), ([address, port]) => shell.openExternal(`http://${address}:${port}/`)),

    openConsole: handler(z.tuple([MachineId, ConsoleView.optional()]), async ([id, show]) => {
      windows.openConsole(id, (await host.ask("machine.get", { id })).name, show);
    }),
    window: handler(z.tuple([z.enum(["minimize", "maximize", "close", "fullscreen"])]), ([action], window) => {
      if (action === "minimize") window.minimize();
      else if (action === "close") window.close();
      else if (action === "fullscreen") window.setFullScreen(!window.isFullScreen());
      else if (window.isMaximized()) window.unmaximize();
      else window.maximize();
    }),
    windowState: handler(nothing, (_args, window) => windowState(window)),
    answersClose: handler(z.tuple([z.boolean()]), ([listens], window) => closing.pageAnswers(window, listens)),
    answerClose: handler(z.tuple([CloseAnswer, z.boolean()]), ([answer, remember]) => closing.answer(answer, remember)),
  };
}

/** Answers the pages' requests from now on. */
export function answerPages(surroundings: Surroundings): void {
  const { windows, log } = surroundings;
  const table = handlers(surroundings);
  for (const name of Object.keys(table) as RequestName[]) {
    const { args: schema, handle } = table[name];
    ipcMain.handle(requests[name], async (event, ...args: unknown[]): Promise<{ result: unknown } | { error: ErrorData }> => {
      try {
        const window = senderOf(event, windows);
        const parsed = schema.safeParse(args);
        if (!parsed.success) throw new TerrariumError("invalid-input", `The window's request "${name}" is malformed: ${parsed.error.issues[0]?.message ?? "unknown"}.`);
        return { result: await handle(parsed.data, window) };
      } catch (error) {
        if (!(error instanceof TerrariumError)) log.error(`The window's request "${name}" failed.`, error);
        return { error: toErrorData(error) };
      }
    });
  }
}

/** The window a request comes from, if it comes from where requests may come from. */
function senderOf(event: IpcMainInvokeEvent, windows: Windows): BrowserWindow {
  const frame = event.senderFrame;
  const window = BrowserWindow.fromWebContents(event.sender);
  if (frame === null || frame !== event.sender.mainFrame || !isOwnPage(frame.url) || !windows.owns(window)) {
    throw new TerrariumError("invalid-input", "This request does not come from a window of Terrarium.");
  }
  return window;
}

/** A machine's name may hold what a file's name may not. */
function safeFileName(name: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are among what is replaced
  return name.replace(/[\u0000-\u001f/\\:*?"<>|]/g, "-").replace(/^\.+/, "") || "screenshot.png";
}
