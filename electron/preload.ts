import { contextBridge, ipcRenderer, type IpcRendererEvent } from "electron";
import type { DesktopApi } from "../core/contract/desktop";
import type { ErrorData } from "../core/contract/errors";
import { facts, requests, type RequestName, type WindowState } from "./channels";
import { pagePortFor } from "./pagePort";

/** What a page can reach of the rest of the program; it has nothing else. */

type Answer<T> = { result: T } | { error: ErrorData };

function request<T>(name: RequestName, ...args: unknown[]): Promise<Answer<T>> {
  return ipcRenderer.invoke(requests[name], ...args) as Promise<Answer<T>>;
}

/** For what has no failure a page could do something about: the message of an error is kept, its code is not. */
async function demand<T>(name: RequestName, ...args: unknown[]): Promise<T> {
  const answer = await request<T>(name, ...args);
  if ("error" in answer) throw new Error(answer.error.message);
  return answer.result;
}

function listen<T>(channel: string, listener: (value: T) => void): () => void {
  const wrapped = (_event: IpcRendererEvent, value: T): void => listener(value);
  ipcRenderer.on(channel, wrapped);
  return () => ipcRenderer.removeListener(channel, wrapped);
}

ipcRenderer.on(facts.stream, (event, { token }: { token: string }) => {
  const port = event.ports[0];
  if (port) window.postMessage({ terrariumStream: token }, window.location.origin, [pagePortFor(port)]);
});

const api: DesktopApi = {
  call: (name, input) => request("call", name, input),
  onHostEvent: (listener) => listen(facts.hostEvent, listener),
  connection: () => demand("connection"),
  onConnection: (listener) => listen(facts.connection, listener),
  openStream: (streamRequest, token) => request("openStream", streamRequest, token),
  openTerminal: (terminal, token) => request("openTerminal", terminal, token),
  resizeTerminal: (token, size) => demand("resizeTerminal", token, size),

  preferences: () => demand("preferences"),
  setPreferences: (patch) => demand("setPreferences", patch),
  onPreferences: (listener) => listen(facts.preferences, listener),

  pickFile: (options) => demand("pickFile", options),
  saveScreenshot: (suggestedName, png) => request("saveScreenshot", suggestedName, png),
  copyText: (text) => demand("copyText", text),
  readClipboardText: () => demand("readClipboardText"),
  openInBrowser: (address, port) => request("openInBrowser", address, port),
  showFolder: (machineId) => demand("showFolder", machineId),

  openConsole: (machineId, show) => demand("openConsole", machineId, show),
  onConsoleView: (listener) => listen(facts.consoleView, listener),
  window: (action) => demand("window", action),
  onWindowState(listener) {
    const stop = listen<WindowState>(facts.windowState, listener);
    // The state as it is; main sends only changes.
    void demand<WindowState>("windowState").then(listener);
    return stop;
  },
  onCloseRequested(listener) {
    void demand("answersClose", true);
    const stop = listen(facts.closeRequested, listener);
    return () => {
      void demand("answersClose", false);
      stop();
    };
  },
  answerClose: (answer, remember) => demand("answerClose", answer, remember),
  platform: process.platform,
};

contextBridge.exposeInMainWorld("terrarium", api);
