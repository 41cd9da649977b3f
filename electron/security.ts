import { readFile } from "node:fs/promises";
import { extname, join, sep } from "node:path";
import { protocol, type App, type Session, type WebContents, type WebPreferences } from "electron";

/*
 * A window shows our own files and nothing else. They come over a scheme of ours, because a page from `file:` has no
 * origin to tell apart; the scheme reaches one folder. Everything that could lead elsewhere is closed: navigation, new
 * windows, embedded pages, permissions, requests to the network.
 */

const scheme = "app";
const host = "terrarium";
export const pageOrigin = `${scheme}://${host}`;

const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  // The component library writes style elements.
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data: blob:",
  "font-src 'self'",
  "connect-src 'self'",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const contentTypes: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".map": "application/json",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".woff": "font/woff",
  ".woff2": "font/woff2",
  ".wasm": "application/wasm",
};

/** The preferences of every window. */
export function pagePreferences(preload: string): WebPreferences {
  return {
    preload,
    sandbox: true,
    contextIsolation: true,
    nodeIntegration: false,
    nodeIntegrationInWorker: false,
    nodeIntegrationInSubFrames: false,
    webSecurity: true,
    webviewTag: false,
    // Its dictionaries would be downloaded.
    spellcheck: false,
    // A console that is covered still has to keep up with its guest.
    backgroundThrottling: false,
  };
}

/** To be called before the app is ready. */
export function prepareScheme(app: App): void {
  protocol.registerSchemesAsPrivileged([{ scheme, privileges: { standard: true, secure: true, supportFetchAPI: true, codeCache: true } }]);
  // The browser below the windows has services of its own that call home.
  for (const name of ["disable-background-networking", "disable-component-update", "disable-domain-reliability", "disable-sync"]) app.commandLine.appendSwitch(name);
  app.commandLine.appendSwitch("disable-features", "AutofillServerCommunication,OptimizationHints,MediaRouter");
}

/** True for a page of ours: our scheme, our host, a file of ours. */
export function isOwnPage(url: string): boolean {
  try {
    const { protocol: urlScheme, host: urlHost } = new URL(url);
    return urlScheme === `${scheme}:` && urlHost === host;
  } catch {
    return false; // What is no URL is no page.
  }
}

/** The file a URL of ours stands for, or undefined when it leads anywhere else. */
export function fileForUrl(folder: string, url: string): string | undefined {
  if (!isOwnPage(url)) return undefined;
  let path: string;
  try {
    path = decodeURIComponent(new URL(url).pathname);
  } catch {
    return undefined; // A malformed escape.
  }
  // Names our bundler writes; so neither `..` nor a second separator needs to be thought of.
  if (!/^(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$/.test(path)) return undefined;
  const file = join(folder, path);
  return file.startsWith(folder + sep) ? file : undefined;
}

/** Serves the files of `folder` to pages of `session`, and nothing but them. */
export function serveOwnFiles(session: Session, folder: string): void {
  session.protocol.handle(scheme, async (request) => {
    const file = request.method === "GET" ? fileForUrl(folder, request.url) : undefined;
    const type = file === undefined ? undefined : contentTypes[extname(file)];
    if (file === undefined || type === undefined) return new Response("There is no such file.", { status: 404 });
    try {
      return new Response(await readFile(file), {
        headers: { "content-type": type, "content-security-policy": contentSecurityPolicy, "x-content-type-options": "nosniff", "cross-origin-opener-policy": "same-origin" },
      });
    } catch (error) {
      const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
      return new Response(missing ? "There is no such file." : String(error), { status: missing ? 404 : 500 });
    }
  });
}

/** Refuses everything a page could ask the browser for. */
export function refusePermissions(session: Session): void {
  session.setPermissionRequestHandler((_contents, _permission, callback) => callback(false));
  session.setPermissionCheckHandler(() => false);
  session.setDevicePermissionHandler(() => false);
  session.setSpellCheckerEnabled(false);
  const elsewhere = ["http://*/*", "https://*/*", "ws://*/*", "wss://*/*", "ftp://*/*", "file://*"];
  session.webRequest.onBeforeRequest({ urls: elsewhere }, (_details, callback) => callback({ cancel: true }));
}

/** Keeps every page where it is. */
export function keepPagesInPlace(app: App): void {
  app.on("web-contents-created", (_event, contents: WebContents) => {
    contents.setWindowOpenHandler(() => ({ action: "deny" }));
    contents.on("will-navigate", (event) => event.preventDefault());
    contents.on("will-redirect", (event) => event.preventDefault());
    contents.on("will-attach-webview", (event) => event.preventDefault());
  });
}
