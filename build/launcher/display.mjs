// Whether a window can be shown here, and whether Chromium's sandbox can work.

import { statSync } from "node:fs";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { readTextIfThere } from "./files.mjs";
import { SetupError } from "./progress.mjs";

/** Throws when there is no display to open a window on. */
export function checkDisplay(environment = process.env, platform = process.platform) {
  if (platform !== "linux" || environment.DISPLAY || environment.WAYLAND_DISPLAY) return;
  throw new SetupError(
    "There is no display to open the window on: neither DISPLAY nor WAYLAND_DISPLAY is set.",
    [
      "Run this in a terminal of your desktop session, or over `ssh -X`.",
      "On a computer without a screen: `xvfb-run -a npm start` opens it on a virtual one (Debian package xvfb),",
      "and `npm run -s terrarium -- serve` runs machines without any window.",
    ].join("\n"),
  );
}

/**
 * Throws when DISPLAY names a screen of this computer that nobody serves, as in a terminal that outlived its session.
 * Screens of other computers are left to Electron: asking them could take long.
 */
export async function checkScreenAnswers(environment = process.env, platform = process.platform) {
  const number = /^(?:unix)?:(\d+)/.exec(environment.DISPLAY ?? "")?.[1];
  if (platform !== "linux" || number === undefined || environment.WAYLAND_DISPLAY) return;
  const socket = `/tmp/.X11-unix/X${number}`;
  // X servers listen on the file or on the abstract name, or on both.
  if ((await answers(socket)) || (await answers(`\0${socket}`))) return;
  throw new SetupError(
    `DISPLAY is ${environment.DISPLAY}, but no X server answers there.`,
    "Run this in a terminal of your desktop session, or on a virtual screen: `xvfb-run -a npm start`.",
  );
}

function answers(path) {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (result) => {
      socket.destroy();
      resolve(result);
    };
    socket.once("connect", () => end(true)).once("error", () => end(false));
  });
}

/**
 * The arguments Chromium needs to start here, each with the reason a person is told.
 * @param {{ platform: string, root: boolean, environment: NodeJS.ProcessEnv, given: string[] }} where
 * @returns {{ argument: string, reason: string }[]}
 */
export function chromiumArguments({ platform, root, environment, given }) {
  const needed = [];
  if (platform === "linux" && root && !given.includes("--no-sandbox")) {
    needed.push({
      argument: "--no-sandbox",
      reason:
        "You are root, and Chromium refuses to run its sandbox as root, so it is off (--no-sandbox). Use an ordinary account for everyday work.",
    });
  }
  if (platform === "linux" && !environment.DISPLAY && environment.WAYLAND_DISPLAY) {
    needed.push({ argument: "--ozone-platform=wayland", reason: "Only a Wayland display is there." });
  }
  return needed;
}

/** The settings of the kernel by which distributions forbid what Chromium's sandbox is made of. */
const namespaceSettings = [
  {
    file: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    forbids: "1",
    name: "kernel.apparmor_restrict_unprivileged_userns",
    allow: "0",
    who: "AppArmor on this system (as on Ubuntu 23.10 and later)",
  },
  {
    file: "/proc/sys/kernel/unprivileged_userns_clone",
    forbids: "0",
    name: "kernel.unprivileged_userns_clone",
    allow: "1",
    who: "the kernel setting kernel.unprivileged_userns_clone",
  },
  {
    file: "/proc/sys/user/max_user_namespaces",
    forbids: "0",
    name: "user.max_user_namespaces",
    allow: "10000",
    who: "the kernel setting user.max_user_namespaces",
  },
];

/**
 * Throws when this system forbids unprivileged user namespaces, on which Chromium's sandbox rests, and no set-user-id
 * helper stands in for them.
 */
export function checkSandbox(
  executable,
  given,
  { platform = process.platform, root = process.getuid?.() === 0, read = readTextIfThere, helperWorks = isSetuidRoot } = {},
) {
  if (platform !== "linux" || root || given.includes("--no-sandbox")) return;
  const forbidding = namespaceSettings.filter((setting) => read(setting.file)?.trim() === setting.forbids);
  if (forbidding.length === 0) return;
  const helper = join(dirname(executable), "chrome-sandbox");
  if (helperWorks(helper)) return;
  throw new SetupError(
    `${forbidding.map((setting) => setting.who).join(" and ")} forbids programs of ordinary users their own namespaces, without which Chromium's sandbox cannot start.`,
    [
      "One of these allows it:",
      `for Terrarium alone:   sudo chown root:root '${helper}' && sudo chmod 4755 '${helper}'`,
      `until the next boot:   ${forbidding.map((setting) => `sudo sysctl -w ${setting.name}=${setting.allow}`).join(" && ")}`,
      "without a sandbox:     npm start -- --no-sandbox   (only if you trust everything that runs in your machines)",
    ].join("\n"),
  );
}

function isSetuidRoot(path) {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats !== undefined && stats.uid === 0 && (stats.mode & 0o4000) !== 0;
}
