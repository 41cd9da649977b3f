import { createHash } from "node:crypto";
import { accessSync, constants, mkdirSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import type { App } from "electron";

/**
 * Gives each home its own app: Electron keeps one app per user data folder, and the folder belongs to the home where
 * one was chosen. To be called before the app is ready.
 * @returns false when an app on this home runs already; it has been told to come to the front
 */
export function beOnlyAppOf(app: App, home: string, homeWasChosen: boolean): boolean {
  if (homeWasChosen) app.setPath("userData", userDataOf(home));
  return app.requestSingleInstanceLock();
}

/** A home that cannot be written gets a folder elsewhere, so that there is a window to say so in. */
function userDataOf(home: string): string {
  const folder = join(home, "app");
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    accessSync(folder, constants.W_OK);
    return folder;
  } catch {
    const hash = createHash("sha256").update(home).digest("hex").slice(0, 12);
    const instead = join(tmpdir(), `terrarium-app-${userInfo().uid}-${hash}`);
    mkdirSync(instead, { recursive: true, mode: 0o700 });
    return instead;
  }
}
