/**
 * The channels between a window's preload script and main, in one place. Requests are answered with `Answer`; the rest
 * are facts that go one way.
 */
export const requests = {
  call: "host:call",
  connection: "host:connection",
  openStream: "host:openStream",
  openTerminal: "terminal:open",
  resizeTerminal: "terminal:resize",
  preferences: "preferences:get",
  setPreferences: "preferences:set",
  pickFile: "dialog:pickFile",
  saveScreenshot: "dialog:saveScreenshot",
  copyText: "clipboard:write",
  readClipboardText: "clipboard:read",
  showFolder: "shell:showFolder",
  openInBrowser: "shell:openInBrowser",
  openConsole: "window:openConsole",
  window: "window:do",
  windowState: "window:state",
  answersClose: "close:listen",
  answerClose: "close:answer",
} as const;
export type RequestName = keyof typeof requests;

/** From main to the page. */
export const facts = {
  hostEvent: "host:event",
  connection: "host:connectionChanged",
  preferences: "preferences:changed",
  windowState: "window:stateChanged",
  closeRequested: "close:requested",
  consoleView: "window:consoleView",
  /** Carries a stream's message port. */
  stream: "host:stream",
} as const;

/** What the buttons of a window show. */
export interface WindowState {
  readonly maximized: boolean;
  readonly fullscreen: boolean;
  readonly focused: boolean;
}
