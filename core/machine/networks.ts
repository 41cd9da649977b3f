import { createHash } from "node:crypto";
import { copyFile, readFile, stat } from "node:fs/promises";
import { Emitter, type Event } from "../base/emitter";
import type { Log } from "../base/log";
import { TerrariumError, type ErrorData } from "../contract/errors";
import { NetworkConfig, type NetworkPatch, type NetworkSpec } from "../contract/network";
import { parseSubnet } from "../net/wire/addresses";
import { writeFileAtomically, type FaultHook } from "../storage/atomicFile";
import { fileError, isMissing } from "../storage/fileErrors";
import { comparable } from "./folderName";
import { collision, freeSubnet, offeredSubnet, requireSound, usedByHost, usedByNetworks, type HostNetwork } from "./networkPlan";

/*
 * `networks.json`: the named networks of a home. People may edit it by hand, so it is read again before anything is
 * done with it. What of it cannot be used is told, and a copy of the whole file is put aside before the first change
 * would write over it. A file that a newer version has written is left as it is, and nothing is changed. Words that this
 * version does not know stay where they are in it, and so do the networks that are too many.
 */

export const networksVersion = 1;

/** Nobody writes a list of networks this long. */
const maxFileBytes = 1024 * 1024;
/** More than that and their subnets run out. */
const maxNetworks = 200;

export interface NetworkRegistryOptions {
  /** The path of `networks.json`. */
  readonly file: string;
  readonly log: Log;
  /** The networks that the host uses now. */
  hostNetworks(): Promise<readonly HostNetwork[]>;
  readonly faults?: FaultHook;
}

interface Loaded {
  readonly networks: readonly NetworkConfig[];
  /** Absent when there is no file yet. */
  readonly text?: string;
  readonly problem?: ErrorData;
  /** Written by a newer version: it must not be written over. */
  readonly newer?: boolean;
  /** Something in the file cannot be used, and the next change does not write it again. */
  readonly loses?: boolean;
  /** Networks beyond the most there may be, as they stand in the file. */
  readonly surplus?: readonly unknown[];
  /** What the file says beside its version and its networks, and in each of these, by its comparable name, that this version does not know. */
  readonly unknown?: { readonly top: Words; readonly byName: ReadonlyMap<string, Words> };
}

type Words = Readonly<Record<string, unknown>>;

export class NetworkRegistry {
  private loaded: Loaded = { networks: [] };
  private readonly changed = new Emitter<void>();
  /** Networks came, went or changed, also by hand. */
  readonly onDidChange: Event<void> = this.changed.event;
  /** The end of the queue of changes; they happen one after another. */
  private queue: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: NetworkRegistryOptions) {}

  /** What is wrong with the file, if something is. */
  get problem(): ErrorData | undefined {
    return this.loaded.problem;
  }

  /** By name, as people sort. */
  list(): NetworkConfig[] {
    const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
    return [...this.loaded.networks].sort((a, b) => collator.compare(a.name, b.name));
  }

  find(name: string): NetworkConfig | undefined {
    const wanted = comparable(name);
    return this.loaded.networks.find((network) => comparable(network.name) === wanted);
  }

  /** @throws TerrariumError `not-found`, naming the networks there are. */
  get(name: string): NetworkConfig {
    const found = this.find(name);
    if (found) return found;
    const names = this.list().map((network) => network.name);
    throw new TerrariumError("not-found", `There is no network "${name}".`, names.length === 0 ? "Make one with: terrarium network create NAME --mode nat-network" : `There are: ${names.join(", ")}.`);
  }

  /** Reads the file again. Never rejects: what is wrong is the registry's problem. */
  refresh(): Promise<void> {
    return this.inTurn(() => this.read());
  }

  /**
   * Makes a network; what the specification leaves open is chosen.
   * @throws TerrariumError `name-taken`, `invalid-input` (also for a subnet that is in use), and as the file says
   */
  create(spec: NetworkSpec): Promise<NetworkConfig> {
    return this.inTurn(async () => {
      await this.requireWritable();
      const holder = this.find(spec.name);
      if (holder) throw new TerrariumError("name-taken", `There is already a network called "${holder.name}".`, "Choose another name.");
      if (this.loaded.networks.length >= maxNetworks) throw new TerrariumError("insufficient-resources", `There are ${maxNetworks} networks already.`, "Delete some that you do not need.");
      const host = await this.options.hostNetworks();
      const network = completed(spec, () => freeSubnet(this.used(host), spec.mode));
      requireSound(network);
      this.requireFree(network, host);
      await this.write([...this.loaded.networks, network]);
      return network;
    });
  }

  /** @throws TerrariumError as `create`, and `not-found` */
  set(name: string, patch: NetworkPatch): Promise<NetworkConfig> {
    return this.inTurn(async () => {
      await this.requireWritable();
      const before = this.get(name);
      const after = changedBy(before, patch);
      requireSound(after);
      // One that collides already may still be changed otherwise.
      if (after.subnet !== before.subnet) this.requireFree(after, await this.options.hostNetworks());
      await this.write(this.loaded.networks.map((network) => (network === before ? after : network)));
      return after;
    });
  }

  /** @param users the machines that are attached to it: with one it stays. */
  delete(name: string, users: readonly string[]): Promise<void> {
    return this.inTurn(async () => {
      await this.requireWritable();
      const network = this.get(name);
      if (users.length > 0) throw new TerrariumError("illegal-state", `The network ${network.name} cannot be deleted: ${users.join(", ")} ${users.length === 1 ? "is" : "are"} attached to it.`, "Attach their adapters elsewhere first.");
      await this.write(this.loaded.networks.filter((other) => other !== network));
    });
  }

  /** Makes those internal networks of these attachments that do not exist yet: nothing about them has to be chosen. */
  async createInternal(attachments: readonly { readonly mode: string; readonly network?: string | undefined }[]): Promise<void> {
    for (const { mode, network } of attachments) {
      if (mode === "internal" && network !== undefined && !this.find(network)) await this.create({ name: network, mode });
    }
  }

  async freeSubnet(): Promise<string> {
    await this.refresh();
    return freeSubnet(this.used(await this.options.hostNetworks()));
  }

  /** The network's conflict with the host's networks as they are now, if there is one. */
  conflict({ name, subnet: text }: NetworkConfig, host: readonly HostNetwork[]): ErrorData | undefined {
    const subnet = text === undefined ? undefined : parseSubnet(text);
    const other = subnet && collision(subnet, usedByHost(host));
    if (!other) return undefined;
    const free = offeredSubnet(this.used(host));
    return { code: "invalid-input", message: `The network ${name} uses ${text}, and so does ${other.by} by now: guests cannot reach that one.`, remedy: `Give ${name} another subnet${free === undefined ? "" : `, like ${free}`}.` };
  }

  private used(host: readonly HostNetwork[], except?: string): ReturnType<typeof usedByHost> {
    return [...usedByHost(host), ...usedByNetworks(this.loaded.networks, except)];
  }

  private requireFree({ name, mode, subnet: text }: NetworkConfig, host: readonly HostNetwork[]): void {
    const subnet = text === undefined ? undefined : parseSubnet(text);
    const used = this.used(host, name);
    const other = subnet && collision(subnet, used);
    if (!other) return;
    const free = offeredSubnet(used, mode);
    throw new TerrariumError("invalid-input", `The subnet ${text} cannot be used: ${other.by} has it, or a part of it.`, free === undefined ? "Name another one: every private subnet is used by the host or by a network." : `${free} is free.`);
  }

  /** Changes go by what the file says now. */
  private async requireWritable(): Promise<void> {
    await this.read();
    const { newer, problem } = this.loaded;
    if (newer && problem) throw new TerrariumError(problem.code, problem.message, problem.remedy);
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.queue.then(work);
    this.queue = mine.catch(() => undefined); // Whoever asked hears of it.
    return mine;
  }

  private async read(): Promise<void> {
    const { file, log } = this.options;
    const text = await readText(file).catch((error: unknown) => fileError(error, "The networks could not be read", file, "read"));
    if (text instanceof TerrariumError) this.take({ networks: this.loaded.networks, newer: true, problem: text.toData() });
    else if (text === undefined) this.take({ networks: [] });
    else if (text !== this.loaded.text) {
      this.take(parseNetworks(text, file));
      if (this.problem) log.warn(this.problem.message);
      const unknown = Object.keys(this.loaded.unknown?.top ?? {}).concat([...(this.loaded.unknown?.byName ?? [])].flatMap(([name, words]) => Object.keys(words).map((word) => `${name}: ${word}`)));
      if (unknown.length > 0) log.warn(`${file} has words that this version of Terrarium does not know, and keeps: ${unknown.slice(0, 5).join(", ")}${unknown.length > 5 ? ", ..." : ""}`);
    }
  }

  private take(loaded: Loaded): void {
    const differs = JSON.stringify([loaded.networks, loaded.problem]) !== JSON.stringify([this.loaded.networks, this.problem]);
    this.loaded = loaded;
    if (differs) this.changed.fire();
  }

  private async write(networks: readonly NetworkConfig[]): Promise<void> {
    const { file, faults } = this.options;
    const { unknown, surplus = [] } = this.loaded;
    const listed = networks.map((network) => withWords(network, unknown?.byName.get(comparable(network.name))));
    const text = `${JSON.stringify({ ...unknown?.top, version: networksVersion, networks: [...listed, ...surplus] }, null, 2)}\n`;
    try {
      if (this.loaded.loses && this.loaded.text !== undefined) await copyFile(file, asideFor(file, this.loaded.text));
      await writeFileAtomically(file, text, { faults });
    } catch (error) {
      throw fileError(error, "The networks could not be saved", file);
    }
    this.take(parseNetworks(text, file));
  }
}

/** Where a file that cannot be used is kept: the same one is kept once. */
function asideFor(file: string, text: string): string {
  return file.replace(/(\.json)?$/, `.unusable-${createHash("sha256").update(text).digest("hex").slice(0, 8)}$1`);
}

async function readText(file: string): Promise<string | undefined> {
  try {
    const entry = await stat(file);
    if (!entry.isFile() || entry.size > maxFileBytes) throw new TerrariumError("broken", `The networks in ${file} cannot be used: it is no list of networks.`, "Move it away.");
    return await readFile(file, "utf8");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** What of the text can be used, and what is wrong with the rest. */
export function parseNetworks(text: string, file: string): Loaded {
  const remedy = `Mend ${file} in a text editor. The next change of a network keeps what it says now in ${asideFor(file, text)}.`;
  const unusable = (because: string, networks: readonly NetworkConfig[] = []): Loaded => ({ text, networks, loses: true, problem: { code: "broken", message: `The networks in ${file} cannot ${networks.length === 0 ? "" : "all "}be used: ${because}.`, remedy } });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return unusable(`it is not valid JSON (${error instanceof Error ? error.message : String(error)})`);
  }
  if (typeof value !== "object" || value === null) return unusable("it is not a JSON object");
  const { version, networks, ...top } = value as { version?: unknown; networks?: unknown };
  if (typeof version === "number" && version > networksVersion) {
    return { text, networks: [], newer: true, problem: { code: "broken", message: `The networks in ${file} were written by a newer version of Terrarium (format ${version}).`, remedy: "Update Terrarium. The file is left exactly as it is." } };
  }
  if (version !== networksVersion || !Array.isArray(networks)) return unusable(`it does not say version ${networksVersion}, or has no list of networks`);
  const good: NetworkConfig[] = [];
  const faults: string[] = [];
  const byName = new Map<string, Words>();
  for (const [index, entry] of networks.slice(0, maxNetworks).entries()) {
    const network = checked(entry, index, good);
    if (typeof network === "string") faults.push(network);
    else {
      good.push(network);
      const words = unknownWords(entry as Words, network);
      if (words) byName.set(comparable(network.name), words);
    }
  }
  const kept = { unknown: { top, byName }, surplus: networks.slice(maxNetworks) };
  if (faults.length > 0) return { ...unusable(faults.slice(0, 3).join("; "), good), ...kept };
  const sound = { text, networks: good, ...kept };
  if (kept.surplus.length === 0) return sound;
  return { ...sound, problem: { code: "broken", message: `There are ${networks.length} networks in ${file}, and only the first ${maxNetworks} are used.`, remedy: "Delete networks that you do not need. The others stay in the file until there is room for them." } };
}

/** What `entry` says that `known`, which was read from it, does not. */
function unknownWords(entry: Words, known: object): Words | undefined {
  const words = Object.entries(entry).flatMap(([word, value]): [string, unknown][] => {
    if (!Object.hasOwn(known, word)) return [[word, value]];
    const part = (known as Words)[word];
    const inside = isWords(part) && isWords(value) ? unknownWords(value, part) : undefined;
    return inside ? [[word, inside]] : [];
  });
  return words.length === 0 ? undefined : Object.fromEntries(words);
}

/** The opposite: `known` with the words beside it. What a change took away stays away. */
function withWords(known: object, words: Words | undefined): Words {
  const merged: Record<string, unknown> = { ...words };
  for (const [word, value] of Object.entries(known)) {
    const inside = words && Object.hasOwn(words, word) ? words[word] : undefined;
    merged[word] = isWords(value) && isWords(inside) ? withWords(value, inside) : value;
  }
  return merged;
}

function isWords(value: unknown): value is Words {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A network of the file, or what is wrong with it. */
function checked(entry: unknown, index: number, before: readonly NetworkConfig[]): NetworkConfig | string {
  const parsed = NetworkConfig.safeParse(entry);
  const which = `network ${index + 1}`;
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    return `${which}: ${issue?.path.length ? `"${issue.path.join(".")}": ` : ""}${issue?.message ?? "it has another form"}`;
  }
  const network = parsed.data;
  if (before.some(({ name }) => comparable(name) === comparable(network.name))) return `two networks are called ${network.name}`;
  try {
    requireSound(network);
  } catch (error) {
    if (!(error instanceof TerrariumError)) throw error;
    return error.message.replace(/\.$/, "");
  }
  const subnet = network.subnet === undefined ? undefined : parseSubnet(network.subnet);
  const other = subnet && collision(subnet, usedByNetworks(before));
  return other ? `the network ${network.name} has the subnet of ${other.by}` : network;
}

/** The specification with what it leaves open. An internal network has no addresses of its own unless it is to have DHCP. */
function completed(spec: NetworkSpec, choose: () => string): NetworkConfig {
  const { name, mode, dhcp = { enabled: mode !== "internal", reservations: [] } } = spec;
  const subnet = spec.subnet ?? (mode === "internal" && !dhcp.enabled ? undefined : choose());
  return { ...spec, name: name.normalize("NFC"), mode, dhcp, ...(subnet === undefined ? {} : { subnet }) };
}

function changedBy(before: NetworkConfig, { subnet, dhcp, domain, mtu, nat }: NetworkPatch): NetworkConfig {
  const after: NetworkConfig = { ...before, ...(dhcp ? { dhcp } : {}), ...(nat ? { nat } : {}) };
  for (const [key, value] of Object.entries({ subnet, domain, mtu })) {
    if (value === null) delete after[key as "subnet"];
    else if (value !== undefined) Object.assign(after, { [key]: value });
  }
  // A range of the old subnet means nothing in the new one.
  if (after.subnet !== before.subnet && dhcp === undefined) after.dhcp = { ...after.dhcp, range: undefined };
  const parsed = NetworkConfig.safeParse(after);
  if (!parsed.success) throw new TerrariumError("invalid-input", `The network ${before.name} cannot be changed so: ${parsed.error.issues[0]?.message ?? "the settings do not fit"}.`);
  return parsed.data;
}
