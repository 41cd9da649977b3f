import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { canvasPixels, picture, RunningApp, temporaryHome, terminalText, until } from "../support/app";
import { ScreenReader } from "../support/screenReader";

/**
 * The product's main job, as a person does it: through the wizard to a console, typing, saving, coming back. What is
 * expected is read from the canvas's pixels and the terminal's text, never from the app's state.
 */
const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-=:~/.";

let home: { path: string; remove(): Promise<void> };
let app: RunningApp;
let reader: ScreenReader;

/** Runs the command line against the same home, as a person in a terminal would. */
function terrarium(...args: string[]): string {
  return execFileSync(process.execPath, [join(process.cwd(), "out", "cli.cjs"), ...args], { encoding: "utf8", env: { ...process.env, TERRARIUM_HOME: home.path } });
}

async function typeIntoScreen(page: Page, text: string): Promise<void> {
  await page.locator("[data-testid=guest-screen] canvas").click();
  for (const character of text) await page.keyboard.press(keyStroke(character));
  await page.keyboard.press("Enter");
}

/** The strokes of a US keyboard: a person holds Shift for these. */
function keyStroke(character: string): string {
  const shifted = '~!@#$%^&*()_+{}|:"<>?'.indexOf(character);
  if (shifted >= 0) return `Shift+${["Backquote", "Digit1", "Digit2", "Digit3", "Digit4", "Digit5", "Digit6", "Digit7", "Digit8", "Digit9", "Digit0", "Minus", "Equal", "BracketLeft", "BracketRight", "Backslash", "Semicolon", "Quote", "Comma", "Period", "Slash"][shifted] ?? ""}`;
  if (/[A-Z]/.test(character)) return `Shift+Key${character}`;
  return character === " " ? "Space" : character;
}

async function typeIntoTerminal(page: Page, text: string): Promise<void> {
  await page.locator("[data-testid=serial-terminal] .xterm-helper-textarea").focus();
  await page.keyboard.type(text);
  await page.keyboard.press("Enter");
}

/** Waits until the main window says so beside the machine's name. */
async function stateIs(words: string): Promise<void> {
  await app.main.locator(".chip.state", { hasText: words }).waitFor({ timeout: 90_000 });
}

async function screenShows(page: Page, text: string, signal: AbortSignal): Promise<string> {
  return until(`“${text}” on the screen`, async () => {
    const shown = reader.read(await canvasPixels(page));
    return shown.includes(text) && shown;
  }, signal);
}

async function terminalShows(page: Page, pattern: RegExp, signal: AbortSignal): Promise<RegExpMatchArray> {
  return until(`${pattern} in the terminal`, async () => (await terminalText(page)).match(pattern) ?? undefined, signal);
}

describe.each([
  { engine: "the built-in emulator", choice: undefined, prefix: "" },
  { engine: "QEMU", choice: /^QEMU/, prefix: "qemu-" },
])("a person's first hour with $engine", ({ choice, prefix }) => {
  beforeAll(async () => {
    reader = new ScreenReader();
    home = await temporaryHome();
    app = await RunningApp.launch(home.path);
  });

  afterAll(async () => {
    await app.kill();
    for (const machine of JSON.parse(terrarium("list", "--json")) as { id: string; state: string }[]) {
      if (["running", "paused", "starting", "stopping"].includes(machine.state)) terrarium("poweroff", machine.id);
    }
    terrarium("serve", "--stop");
    await home.remove();
  });

  it("is greeted, and taken through the wizard to a running machine in its console", async ({ signal }) => {
    await app.main.getByRole("heading", { name: "Grow your first machine" }).waitFor();
    await picture(app.main, prefix + "first-run");
    await app.main.keyboard.press("Control+n");
    await app.main.getByRole("radio", { name: "Terrarium Linux" }).check();
    await app.main.getByRole("button", { name: "Continue to system" }).click();
    await app.main.getByLabel("Name").fill("garden");
    if (choice) await app.main.getByRole("radiogroup", { name: "Engine" }).getByRole("radio", { name: choice }).check();
    await app.main.getByRole("button", { name: "Continue to disk" }).click();
    await app.main.getByRole("button", { name: "Continue to network" }).click();
    await picture(app.main, prefix + "wizard");
    await app.main.getByRole("button", { name: "Continue to review" }).click();
    await app.main.getByRole("button", { name: "Create and start" }).click();

    const page = await app.console("garden");
    await until("a picture of the guest", async () => (await canvasPixels(page)).width > 0, signal);
  });

  it("types into the display and reads the answer in its pixels", async ({ signal }) => {
    const page = await app.console("garden");
    await until("letters learned from the screen", async () => {
      await typeIntoScreen(page, `clear; echo ${alphabet}`);
      const lookUntil = AbortSignal.timeout(5_000);
      return await until("the alphabet", async () => reader.learnAnywhere(await canvasPixels(page), alphabet) || lookUntil.aborted, signal) && reader.read(await canvasPixels(page)).includes(alphabet);
    }, signal);
    await typeIntoScreen(page, "echo answer-$((6*7)) on $(hostname)");
    expect(await screenShows(page, "answer-42 on garden", signal)).toContain("answer-42 on garden");
    await picture(page, prefix + "console");
  });

  it("works in the serial terminal beside it, and keeps a file on the disk", async ({ signal }) => {
    const page = await app.console("garden");
    await page.getByRole("button", { name: "Serial", exact: true }).click();
    await typeIntoTerminal(page, "stty cols 60; echo sum-$((20+3))");
    await terminalShows(page, /^sum-23$/m, signal);
    await typeIntoTerminal(page, "echo kept-by-terrarium > /data/note && sync && echo written-$((1+1))");
    await terminalShows(page, /^written-2$/m, signal);
    await typeIntoTerminal(page, "mount | grep -c ' /data '");
    await terminalShows(page, /^1$/m, signal);
    await picture(page, prefix + "console-serial");
  });

  it("logs in to the guest by SSH with one click, and gets the guest's own answers there", async ({ signal }) => {
    const page = await app.console("garden");
    await page.getByRole("button", { name: "SSH", exact: true }).click();
    const terminal = page.getByTestId("ssh-terminal");
    await until("a prompt", async () => /root@garden:~#/.test(await terminalText(page, "ssh-terminal")), signal);
    await terminal.locator(".xterm-helper-textarea").focus();
    // The answer is none that the line itself could be taken for, and comes over the network, by the key we know.
    await page.keyboard.type("echo by-${SSH_CONNECTION:+ssh}-$((6*7)) on $(hostname) $(cat /data/note)");
    await page.keyboard.press("Enter");
    await until("the guest's answer", async () => /^by-ssh-42 on garden kept-by-terrarium$/m.test(await terminalText(page, "ssh-terminal")), signal);
    const [machine] = JSON.parse(terrarium("list", "--json")) as { folder: string }[];
    const known = join(machine!.folder, "ssh", "known_hosts");
    const shown = execFileSync("ssh-keygen", ["-l", "-f", known], { encoding: "utf8" });
    expect(shown).toMatch(/^256 SHA256:\S+ terrarium-\S+ \(ED25519\)$/m);
    await picture(page, prefix + "console-ssh");
    await page.keyboard.type("exit");
    await page.keyboard.press("Enter");
    await page.getByText("The connection has ended.").waitFor();
    const again = page.getByRole("button", { name: "Connect again" });
    await again.waitFor();

    // Whoever answers by another key than the one this guest was given is not talked to.
    const right = readFileSync(known, "utf8");
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(home.path, "stranger")]);
    const [, type, key] = /^(\S+) (\S+)/.exec(readFileSync(join(home.path, "stranger.pub"), "utf8"))!;
    writeFileSync(known, `${right.split(" ")[0]!} ${type} ${key}\n`);
    await again.click();
    await until("ssh turns back", async () => (await terminalText(page, "ssh-terminal")).includes("Host key verification failed"), signal);
    await page.getByText("ssh could not reach garden").waitFor();
    await picture(page, prefix + "console-ssh-stranger");
    writeFileSync(known, right);
    await page.getByRole("button", { name: "Serial", exact: true }).click();
  });

  it("leaves a counting program running, saves the machine by closing the app, and finds it saved", async ({ signal }) => {
    const page = await app.console("garden");
    await typeIntoTerminal(page, "(i=0; while :; do i=$((i+1)); echo $i > /tmp/count; sleep 0.2; done) & clear");
    await picture(app.main, prefix + "overview");
    await app.main.getByRole("button", { name: "Close" }).click();
    await app.main.getByRole("dialog").getByRole("button", { name: /^Save/ }).click();
    await app.ended();
    app = await RunningApp.launch(home.path);
    await stateIs("Saved");
    expect(signal.aborted).toBe(false);
  });

  it("goes on where it was: the screen, the program and the file are there", async ({ signal }) => {
    await app.main.getByRole("toolbar").getByRole("button", { name: /^(Start|Go on)/ }).click();
    await app.main.getByRole("toolbar").getByRole("button", { name: "Open console" }).click();
    const page = await app.console("garden");
    await screenShows(page, "answer-42 on garden", signal);
    await page.getByRole("button", { name: "Serial", exact: true }).click();
    await typeIntoTerminal(page, "stty cols 60; echo count-$(cat /tmp/count)");
    const [, first] = await terminalShows(page, /^count-(\d+)$/m, signal);
    await until("the program counts on", async () => {
      await typeIntoTerminal(page, "clear; echo count-$(cat /tmp/count)");
      const [, later] = await terminalShows(page, /^count-(\d+)$/m, signal);
      return Number(later) > Number(first);
    }, signal);
    await typeIntoTerminal(page, "clear; cat /data/note");
    await terminalShows(page, /^kept-by-terrarium$/m, signal);
  });

  it("loses nothing when the host service is killed with the guest running", async ({ signal }) => {
    await app.kill();
    app = await RunningApp.launch(home.path);
    await stateIs("Running");
    await app.main.getByRole("toolbar").getByRole("button", { name: "Open console" }).click();
    const page = await app.console("garden");
    await screenShows(page, "answer-42 on garden", signal);
    await typeIntoScreen(page, "echo still-$((40+2)) here");
    await screenShows(page, "still-42 here", signal);
  });

  it("keeps the machine running without the app, in reach of the command line, and comes back to it", async ({ signal }) => {
    await app.main.getByRole("button", { name: "Close" }).click();
    await app.main.getByRole("dialog").getByRole("button", { name: /^Keep running/ }).click();
    await app.ended();
    expect(terrarium("list")).toMatch(/garden\s+running/);
    expect(terrarium("exec", "garden", "--", "cat", "/data/note")).toBe("kept-by-terrarium\n");
    app = await RunningApp.launch(home.path);
    await stateIs("Running");
    await app.main.getByRole("toolbar").getByRole("button", { name: "Open console" }).click();
    await screenShows(await app.console("garden"), "still-42 here", signal);
  });

  it("shuts the guest down in order, and after a fresh start its disk holds the file", async ({ signal }) => {
    await app.main.getByRole("toolbar").getByRole("button", { name: "Shut down" }).click();
    await stateIs("Off");
    await app.main.getByRole("toolbar").getByRole("button", { name: "Start", exact: true }).click();
    await stateIs("Running");
    const page = await app.console("garden");
    await page.getByRole("region", { name: "Serial port" }).or(page.getByRole("button", { name: "Serial", exact: true })).first().waitFor();
    if ((await page.getByTestId("serial-terminal").count()) === 0) await page.getByRole("button", { name: "Serial", exact: true }).click();
    await until("the file of before", async () => {
      await typeIntoTerminal(page, "clear; cat /data/note");
      return /^kept-by-terrarium$/m.test(await terminalText(page));
    }, signal);
  });

  it("goes to the trash and comes back by Undo", async () => {
    await app.main.getByRole("toolbar").getByRole("button", { name: "More ways to end or restart it" }).click();
    await app.main.getByRole("menuitem", { name: /Power off/ }).click();
    await app.main.getByRole("dialog").getByRole("button", { name: "Power off" }).click();
    await stateIs("Off");
    await app.main.getByRole("toolbar").getByRole("button", { name: "More commands" }).click();
    await app.main.getByRole("menuitem", { name: /Delete/ }).click();
    const dialog = app.main.getByRole("dialog");
    if (await dialog.count()) await dialog.getByRole("button", { name: /Delete|trash/i }).click();
    await app.main.getByRole("button", { name: "Undo" }).click();
    await app.main.getByRole("heading", { name: "garden" }).waitFor();
  });

  it("saw no page complain", () => {
    expect(app.complaints).toEqual([]);
  });
});
