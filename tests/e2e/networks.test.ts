import { execFileSync } from "node:child_process";
import { connect, createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { picture, RunningApp, temporaryHome, until } from "../support/app";

/** Networks by clicks: what a person draws is what the test's own sockets then find. */
let home: { path: string; remove(): Promise<void> };
let app: RunningApp;

function terrarium(...args: string[]): string {
  return execFileSync(process.execPath, [join(process.cwd(), "out", "cli.cjs"), ...args], { encoding: "utf8", env: { ...process.env, TERRARIUM_HOME: home.path } });
}

const row = (name: string) => app.main.getByRole("tree", { name: "Machines" }).getByRole("treeitem", { name: new RegExp(`^${name}`) });
const nav = (name: string) => app.main.getByRole("navigation", { name: "Pages" }).getByRole("button", { name: new RegExp(`^${name}`) });
const networkTab = async (machine: string): Promise<void> => {
  await row(machine).click();
  await app.main.getByRole("tab", { name: "Network" }).click();
};

/** A program of this computer on a port of its own. */
async function program(): Promise<{ port: number; close(): void }> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", () => listening()));
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}

/** Connects to a port of this computer and waits for the first words; undefined when nobody says any. */
function knock(port: number): Promise<{ words: string; closed: Promise<void> } | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const closed = new Promise<void>((done) => socket.on("close", () => done()));
    socket.on("error", (error: NodeJS.ErrnoException) => expect(["ECONNRESET", "ECONNREFUSED"]).toContain(error.code));
    socket.once("data", (chunk: Buffer) => resolve({ words: chunk.toString(), closed }));
    void closed.then(() => resolve(undefined));
  });
}

beforeAll(async () => {
  home = await temporaryHome();
  for (const name of ["web-01", "db-01"]) terrarium("create", name, "--net", "nat");
  terrarium("serve", "--stop");
  app = await RunningApp.launch(home.path);
  await app.resize(1280, 920);
  for (const name of ["db-01", "web-01"]) {
    await row(name).click();
    await app.main.getByRole("toolbar").getByRole("button", { name: "Start", exact: true }).click();
    await app.main.locator(".chip.state", { hasText: "Running" }).waitFor();
  }
});

afterAll(async () => {
  await app.kill();
  for (const name of ["web-01", "db-01"]) terrarium("poweroff", name);
  terrarium("serve", "--stop");
  await home.remove();
});

describe("networks by clicks", () => {
  it("make a port lead to a guest, show who knocks, and cut them off", async ({ signal }) => {
    const free = await program();
    free.close();
    await networkTab("web-01");
    await app.main.getByRole("button", { name: "Add a forward" }).click();
    await app.main.getByRole("textbox", { name: "Port here" }).fill(String(free.port));
    await app.main.getByRole("textbox", { name: "Port of the guest" }).fill("22");
    await app.main.getByRole("button", { name: "Add", exact: true }).click();
    await app.main.getByRole("cell", { name: "listens" }).waitFor();
    await app.main.getByText("10.0.2.15", { exact: true }).first().waitFor();
    await app.main.getByRole("cell", { name: "always, reserved" }).waitFor();
    // The guest's server of ssh comes up a moment after its address.
    const { words, closed } = await until("the guest's first words", () => knock(free.port), signal);
    expect(words).toMatch(/^SSH-2\.0-/);
    await app.main.getByRole("row", { name: /^tcp, forwarded .* established/ }).waitFor();
    await picture(app.main, "network-tab");
    await app.main.getByRole("button", { name: /^Cut 10\.0\.2\.15:22 with/ }).click();
    await closed;
    await app.main.getByText("The guest talks to nobody outside now.").waitFor();
  });

  it("name the program that has a port already, and keep what was typed", async () => {
    const holder = await program();
    await app.main.getByRole("button", { name: "Add a forward" }).click();
    await app.main.getByRole("textbox", { name: "Port here" }).fill(String(holder.port));
    await app.main.getByRole("textbox", { name: "Port of the guest" }).fill("80");
    await app.main.getByRole("button", { name: "Add", exact: true }).click();
    await app.main.getByRole("region", { name: "Messages" }).getByText(new RegExp(`${holder.port} of 127\\.0\\.0\\.1 is in use by .* \\(process ${process.pid}\\)`)).waitFor();
    await picture(app.main, "screens/forward-taken");
    expect(await app.main.getByRole("textbox", { name: "Port of the guest" }).inputValue()).toBe("80");
    await app.main.getByRole("region", { name: "Messages" }).getByRole("alert").getByRole("button", { name: "Dismiss" }).click();
    await app.main.getByRole("button", { name: "Cancel" }).click();
    holder.close();
  });

  it("make a network, lead running machines to it, and keep an address for one", async ({ signal }) => {
    await nav("Networks").click();
    await app.main.getByRole("button", { name: "New network" }).click();
    await app.main.getByRole("textbox", { name: "Name" }).fill("campus");
    await app.main.getByRole("textbox", { name: "Subnet" }).fill("10.20.0.0/24");
    await app.main.getByRole("button", { name: "Make the network" }).click();
    await app.main.getByRole("button", { name: /^campus/ }).waitFor();
    for (const name of ["web-01", "db-01"]) {
      await networkTab(name);
      await app.main.getByRole("button", { name: "Plug in elsewhere…" }).click();
      await app.main.getByRole("dialog").getByRole("radio", { name: "NAT network" }).check();
      await app.main.getByRole("dialog").getByRole("button", { name: "Plug in now" }).click();
      await app.main.getByRole("heading", { name: /campus/ }).waitFor();
      await app.main.getByRole("table").getByText(/^10\.20\.0\.\d+$/).first().waitFor();
    }
    await nav("Networks").click();
    const opener = app.main.getByRole("button", { name: /^campus/ });
    if ((await opener.getAttribute("aria-expanded")) === "false") await opener.click();
    const leases = app.main.getByRole("region", { name: "Addresses given out" }).getByRole("row");
    await leases.filter({ hasText: "db-01" }).waitFor();
    await leases.filter({ hasText: "web-01" }).getByRole("button", { name: "Reserve this address" }).click();
    await leases.filter({ hasText: "web-01" }).getByText("always, reserved").waitFor();
    await app.resize(1280, 620);
    await picture(app.main, "networks");
    const shown = await leases.filter({ hasText: "web-01" }).getByRole("cell").first().innerText();
    // The guest itself says so too.
    await until("the guest's own address", () => Promise.resolve(terrarium("exec", "web-01", "--", "ip", "-4", "addr").includes(shown)), signal);
  });

  it("made no page complain", () => {
    expect(app.complaints).toEqual([]);
  });
});
