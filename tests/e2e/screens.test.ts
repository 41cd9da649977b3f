import { execFileSync } from "node:child_process";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import AxeBuilder from "@axe-core/playwright";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { picture, RunningApp, temporaryHome } from "../support/app";

/** Every screen, dark and light, in a large and in a small window: nothing is cut off, and axe-core finds nothing serious. */
const sizes = { large: [1360, 860], small: [900, 600] } as const;
const themes = ["Dark", "Light"] as const;

let home: { path: string; remove(): Promise<void> };
let app: RunningApp;

function terrarium(...args: string[]): string {
  return execFileSync(process.execPath, [join(process.cwd(), "out", "cli.cjs"), ...args], { encoding: "utf8", env: { ...process.env, TERRARIUM_HOME: home.path } });
}

beforeAll(async () => {
  home = await temporaryHome();
  terrarium("create", "garden", "--net", "nat");
  terrarium("create", "a machine whose name is so long that no list and no title bar anywhere has room for all of it");
  terrarium("create", "pond", "--engine", "qemu", "--cpus", "2");
  terrarium("create", "kaputt");
  terrarium("create", "gone");
  terrarium("delete", "gone");
  terrarium("serve", "--stop");
  const folder = readdirSync(join(home.path, "machines")).find((name) => name.startsWith("kaputt"));
  writeFileSync(join(home.path, "machines", folder ?? "", "machine.json"), "{");
  app = await RunningApp.launch(home.path);
  await row("garden").waitFor();
});

afterAll(async () => {
  await app.kill();
  terrarium("poweroff", "garden");
  terrarium("poweroff", "pond");
  terrarium("serve", "--stop");
  await home.remove();
});

const row = (name: string) => app.main.getByRole("tree", { name: "Machines" }).getByRole("treeitem", { name: new RegExp(`^${name}`) });
const nav = (name: string) => app.main.getByRole("navigation", { name: "Pages" }).getByRole("button", { name: new RegExp(`^${name}`) });
const tab = async (name: string, machine = "garden"): Promise<void> => {
  await row(machine).click();
  await app.main.getByRole("tab", { name }).click();
};

/** How a person gets to each screen of the main window, and what is there when it has come. */
const screens: Readonly<Record<string, () => Promise<void>>> = {
  async overview() {
    await tab("Overview");
    await app.main.getByRole("heading", { name: "garden" }).waitFor();
  },
  async network() {
    await tab("Network");
    await app.main.getByRole("heading", { name: "net0" }).waitFor();
  },
  async "plug in elsewhere"() {
    await tab("Network");
    await app.main.getByRole("button", { name: "Plug in elsewhere…" }).click();
    await app.main.getByRole("dialog").getByRole("radio", { name: "NAT network" }).check();
    await app.main.getByRole("dialog").getByRole("region", { name: "Who reaches whom" }).waitFor();
  },
  async "a new forward"() {
    await app.main.getByRole("dialog").getByRole("button", { name: "Cancel" }).last().click();
    await tab("Network");
    const add = app.main.getByRole("button", { name: "Add a forward" });
    if ((await add.count()) > 0) await add.click();
    await app.main.getByRole("textbox", { name: "Port here" }).waitFor();
  },
  async logs() {
    await tab("Logs");
    await app.main.getByRole("tabpanel").getByText(/started/).first().waitFor();
  },
  async settings() {
    await tab("Settings");
    await app.main.getByRole("textbox", { name: "Name" }).waitFor();
  },
  async "overview on qemu"() {
    await tab("Overview", "pond");
    await app.main.getByRole("heading", { name: "pond" }).waitFor();
    // What runs it, and why that is slow here.
    await app.main.getByText(/^QEMU \d/).first().waitFor();
    await app.main.getByRole("img", { name: /^Processor in the last five minutes/ }).waitFor();
  },
  async "command line"() {
    await tab("Logs", "pond");
    await app.main.getByRole("radio", { name: "Command line" }).or(app.main.getByRole("button", { name: "Command line" })).or(app.main.getByRole("tab", { name: "Command line" })).first().click();
    await app.main.getByRole("region", { name: "Command line of pond" }).getByText("-nodefaults").waitFor();
  },
  async "settings on qemu"() {
    await tab("Settings", "pond");
    const expert = app.main.getByRole("button", { name: "Expert" });
    if ((await expert.getAttribute("aria-expanded")) === "false") await expert.click();
    await app.main.getByRole("textbox", { name: "CPU model" }).waitFor();
  },
  async "a broken machine"() {
    await row("kaputt").click();
    await app.main.getByRole("tab", { name: "Overview" }).click();
    await app.main.getByText(/machine\.json/).first().waitFor();
  },
  async "a long name"() {
    await row("a machine whose").click();
    await app.main.getByRole("tab", { name: "Overview" }).click();
    await app.main.getByRole("heading", { name: /^a machine whose/ }).waitFor();
  },
  async networks() {
    await nav("Networks").click();
    await app.main.getByRole("heading", { name: "Networks" }).waitFor();
    if ((await app.main.getByRole("button", { name: /^campus/ }).count()) > 0) return;
    // What stands there before there is one has to hold its own, too.
    await app.main.getByRole("table").getByText("Host-only").waitFor();
    await picture(app.main, "screens/networks-empty");
    expect([...(await cutOff(app.main)), ...(await serious(app.main))]).toEqual([]);
    await app.main.getByRole("button", { name: "New network" }).click();
    await app.main.getByRole("textbox", { name: "Name" }).fill("campus");
    await app.main.getByRole("button", { name: "Make the network" }).click();
    await app.main.getByRole("button", { name: /^campus/ }).waitFor();
  },
  async "a network"() {
    await nav("Networks").click();
    await app.main.getByRole("button", { name: "Edit campus" }).click();
    await app.main.getByRole("dialog").getByRole("textbox", { name: "Subnet" }).waitFor();
  },
  async activity() {
    if ((await app.main.getByRole("dialog").count()) > 0) await app.main.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
    await nav("Activity").click();
    await app.main.getByRole("heading", { name: "Activity" }).waitFor();
  },
  async trash() {
    await nav("Trash").click();
    await app.main.getByText("gone").first().waitFor();
  },
  async "this computer"() {
    await nav("This computer").click();
    await app.main.getByRole("heading", { name: "This computer" }).waitFor();
    await app.main.getByText("TCG (software emulation)").waitFor();
  },
  async preferences() {
    await nav("Preferences").click();
    await app.main.getByRole("heading", { name: "Preferences" }).waitFor();
  },
};

const wizardSteps = ["system", "disk", "network", "review"] as const;

async function choose(theme: (typeof themes)[number]): Promise<void> {
  await nav("Preferences").click();
  await app.main.getByRole("radio", { name: theme }).check();
  await app.main.locator(`html[data-theme=${theme.toLowerCase()}]`).waitFor({ state: "attached" });
}

/** Controls that stand outside of the window with nothing to scroll them in by, and a page wider than the window. */
function cutOff(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const scrollable = (element: Element): boolean => {
      for (let above = element.parentElement; above; above = above.parentElement) {
        if (/(auto|scroll)/.test(getComputedStyle(above).overflowX) && above.scrollWidth > above.clientWidth) return true;
      }
      return false;
    };
    const found = [...document.querySelectorAll("button, input, select, textarea, [role=tab], [role=radio], [role=treeitem], h1, h2")]
      .filter((element) => element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }))
      .filter((element) => {
        const box = element.getBoundingClientRect();
        return box.width > 1 && (box.left < -1 || box.right > window.innerWidth + 1) && !scrollable(element);
      })
      .map((element) => `${element.tagName.toLowerCase()} “${(element.getAttribute("aria-label") ?? element.textContent ?? "").slice(0, 60)}”`);
    const { scrollWidth } = document.documentElement;
    return scrollWidth > window.innerWidth ? [...found, `the page, ${scrollWidth} of ${window.innerWidth} pixels`] : found;
  });
}

/** Tells the window of something, as the host service does, and waits until it is shown. */
async function tellOf(message: string): Promise<void> {
  await app.notice(message);
  await app.main.getByRole("region", { name: "Messages" }).getByText(message).waitFor();
}

/** Controls of the wizard or of the dialog on top that a message lies over, and messages that nobody can read. */
function coveredByMessages(page: Page): Promise<string[]> {
  return page.evaluate(async () => {
    await Promise.all(document.getAnimations().filter((animation) => animation.effect?.getComputedTiming().iterations === 1).map((animation) => animation.finished));
    const messages = [...document.querySelectorAll(".toast")].map((toast) => toast.getBoundingClientRect());
    if (messages.length === 0) throw new Error("no message is shown");
    const place = document.querySelector("[role=dialog]") ?? document.querySelector(".wizard")!;
    return [...place.querySelectorAll("button, input, textarea, [role=combobox], h1, h2")]
      .map((control) => ({ control, box: control.getBoundingClientRect() }))
      .filter(({ box }) => messages.some((message) => box.left < message.right && box.right > message.left && box.top < message.bottom && box.bottom > message.top))
      .map(({ control }) => `${control.tagName.toLowerCase()} “${(control.getAttribute("aria-label") ?? control.textContent ?? "").slice(0, 60)}”`);
  });
}

async function serious(page: Page): Promise<string[]> {
  // Legacy mode: Electron has no place for the page of its own that axe would open.
  const { violations } = await new AxeBuilder({ page }).setLegacyMode().analyze();
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(" ")}: ${node.failureSummary ?? ""}`));
}

/** What is wrong with what a window shows now. */
async function faults(page: Page, name: string): Promise<string[]> {
  await page.evaluate(() => Promise.all(document.getAnimations().filter((animation) => animation.effect?.getComputedTiming().iterations === 1).map((animation) => animation.finished)));
  await picture(page, `screens/${name}`.replaceAll(" ", "-"));
  return [...(await cutOff(page)), ...(await serious(page))].map((fault) => `${name}: ${fault}`);
}

describe("the screens", () => {
  it("starts a machine, so that there is something to show", async () => {
    await row("garden").click();
    await app.main.getByRole("toolbar").getByRole("button", { name: "Start", exact: true }).click();
    await app.main.locator(".chip.state", { hasText: "Running" }).waitFor();
    await app.main.getByRole("toolbar").getByRole("button", { name: "Open console" }).click();
    const page = await app.console("garden");
    await page.locator("[data-testid=guest-screen] canvas").waitFor();
    await row("pond").click();
    await app.main.getByRole("toolbar").getByRole("button", { name: "Start", exact: true }).click();
    await app.main.locator(".chip.state", { hasText: "Running" }).waitFor();
  });

  for (const theme of themes) {
    for (const [size, [width, height]] of Object.entries(sizes)) {
      const of = (name: string): string => `${name} ${theme.toLowerCase()} ${size}`;

      it(`of the main window, ${theme.toLowerCase()} and ${size}`, async () => {
        await app.resize(width, height);
        await choose(theme);
        const found: string[] = [];
        for (const [name, show] of Object.entries(screens)) {
          await show();
          found.push(...(await faults(app.main, of(name))));
        }
        await app.main.keyboard.press("Control+k");
        await app.main.getByRole("dialog").waitFor();
        found.push(...(await faults(app.main, of("palette"))));
        await app.main.keyboard.press("Escape");
        expect(found).toEqual([]);
        // Looking at machines is remembered too, and changes nothing that was chosen.
        await nav("Preferences").click();
        expect(await app.main.getByRole("radio", { name: theme }).isChecked()).toBe(true);
      });

      it(`of the wizard, ${theme.toLowerCase()} and ${size}`, async () => {
        await app.main.keyboard.press("Control+n");
        await app.main.getByRole("radio", { name: "Terrarium Linux" }).check();
        const found = await faults(app.main, of("wizard"));
        for (const step of wizardSteps) {
          await app.main.getByRole("button", { name: `Continue to ${step}` }).click();
          found.push(...(await faults(app.main, of(`wizard ${step}`))));
        }
        await app.main.keyboard.press("Escape");
        await row("garden").waitFor();
        expect(found).toEqual([]);
      });
    }

    it(`of the console, ${theme.toLowerCase()}`, async () => {
      await choose(theme);
      const page = await app.console("garden");
      const found = await faults(page, `console ${theme.toLowerCase()}`);
      await page.getByRole("button", { name: "Serial", exact: true }).click();
      await page.locator("[data-testid=serial-terminal] .xterm-rows").waitFor();
      found.push(...(await faults(page, `console serial ${theme.toLowerCase()}`)));
      await page.getByRole("button", { name: "SSH", exact: true }).click();
      await page.getByTestId("ssh-terminal").locator(".xterm-rows").getByText("root@garden:~#").waitFor();
      found.push(...(await faults(page, `console ssh ${theme.toLowerCase()}`)));
      await page.getByRole("button", { name: "SSH", exact: true }).click();
      expect(found).toEqual([]);
    });
  }

  it("have no message over a control of the wizard or a dialog, in a small window", async () => {
    await app.resize(...sizes.small);
    await app.main.keyboard.press("Control+n");
    await app.main.getByRole("radio", { name: "Terrarium Linux" }).check();
    await tellOf("One thing has happened.");
    await tellOf("Another thing has happened, and it takes many words to say what it was: so many that they do not fit into one line.");
    const covered = await coveredByMessages(app.main);
    await app.main.getByRole("radio", { name: /^ISO image/ }).check();
    await app.main.getByRole("textbox").first().fill("/somewhere.iso");
    await app.main.keyboard.press("Escape");
    await app.main.getByRole("dialog").waitFor();
    covered.push(...(await coveredByMessages(app.main)));
    await picture(app.main, "screens/messages-wizard");
    await app.main.getByRole("dialog").getByRole("button", { name: "Leave" }).click();
    await row("garden").click();
    await tellOf("A third thing has happened.");
    await app.main.keyboard.press("F2");
    await app.main.getByRole("dialog").waitFor();
    covered.push(...(await coveredByMessages(app.main)));
    await picture(app.main, "screens/messages-dialog");
    await app.main.keyboard.press("Escape");
    const dismiss = app.main.getByRole("button", { name: "Dismiss" });
    while ((await dismiss.count()) > 0) await dismiss.first().click();
    expect(covered).toEqual([]);
  });

  it("keep what was typed into the settings while somebody looks elsewhere", async () => {
    await tab("Settings");
    await app.main.getByRole("textbox", { name: "Group" }).fill("lab");
    await row("a machine whose").click();
    await nav("Activity").click();
    await row("garden").click();
    expect(await app.main.getByRole("textbox", { name: "Group" }).inputValue()).toBe("lab");
    await app.main.getByRole("button", { name: "Revert" }).click();
    await app.main.getByText("not applied yet").waitFor({ state: "detached" });
    expect(await app.main.getByRole("textbox", { name: "Group" }).inputValue()).toBe("");
  });

  it("made no page complain", () => {
    expect(app.complaints).toEqual([]);
  });
});
