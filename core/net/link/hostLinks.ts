import { createHash } from "node:crypto";
import type { Disposable } from "../../base/disposable";
import { Emitter } from "../../base/emitter";
import type { Log } from "../../base/log";
import type { ErrorData } from "../../contract/errors";
import type { Reactor } from "../reactor";
import { formatIpv4, formatMac, type Ipv4Address, type MacNumber } from "../wire/addresses";
import { PortableDescriptorWatcher, type DescriptorWatcher } from "./descriptorWatcher";
import { loadKernelCalls } from "./kernelCalls";
import { LinkHelper, type HelperProgram } from "./linkHelper";
import { openLinkIo, type LinkIo } from "./linkIo";
import { BridgedPort, type HostEnd } from "./packet";
import { TapPort } from "./tap";

export interface HostLinksAround {
  readonly reactor: Reactor;
  /** Of the fast loop; absent, the runtime's loop is enough. */
  readonly watcher?: DescriptorWatcher;
  readonly log: Log;
  readonly program: HelperProgram;
  /** Tells homes apart, so that two do not give their interfaces the same names: the run directory. */
  readonly scope: string;
}

export interface HostOnlySpec {
  /** The network's name. */
  readonly name: string;
  /** The host's address on it. */
  readonly address: Ipv4Address;
  readonly prefix: number;
  readonly mtu: number;
}

/** The host's interface of a host-only network. */
export class HostOnlyPort extends TapPort {
  private readonly vanished: Emitter<ErrorData>;
  /** Somebody removed the interface; the port carries nothing any more. */
  readonly onDidVanish;

  constructor(
    io: LinkIo,
    descriptor: number,
    readonly interfaceName: string,
  ) {
    const vanished = new Emitter<ErrorData>();
    super(io, descriptor, (reason) =>
      vanished.fire({ code: "not-found", message: `The interface ${interfaceName} of this computer is gone: ${reason}.`, remedy: "It is made again when the network is next changed or attached." }),
    );
    this.vanished = vanished;
    this.onDidVanish = vanished.event;
  }

  override dispose(): void {
    super.dispose();
    this.vanished.dispose();
  }
}

/**
 * The interfaces of the host that the fabric's networks have: TAPs of host-only networks, cards of bridged ones. Nothing
 * is loaded, started or asked for before the first is opened.
 */
export class HostLinks implements Disposable {
  private opened: { readonly io: LinkIo; readonly helper: LinkHelper; readonly watcher: Disposable | undefined } | undefined;

  constructor(private readonly around: HostLinksAround) {}

  /** Puts a new interface on the host. @throws TerrariumError */
  async hostOnly({ name, address, prefix, mtu }: HostOnlySpec): Promise<HostOnlyPort> {
    const { io, helper } = this.open();
    const end = hostEnd(this.around.scope, name);
    const descriptor = await helper.open({ do: "tap", name: end.name, mac: formatMac(end.mac), mtu, address: { address: formatIpv4(address), prefix } });
    return new HostOnlyPort(io, descriptor, end.name);
  }

  /** Opens a card of the host. @throws TerrariumError */
  async bridged(card: string): Promise<BridgedPort> {
    const { io, helper } = this.open();
    return BridgedPort.open({ io, helper }, card, hostEnd(this.around.scope, `card ${card}`, card));
  }

  /** Lets the right be asked for again after it was declined. */
  forgetRefusal(): void {
    this.opened?.helper.forgetRefusal();
  }

  /** Ends the helper. The ports are their holders' to close. */
  dispose(): void {
    this.opened?.helper.dispose();
    this.opened?.watcher?.dispose();
    this.opened = undefined;
  }

  private open(): { readonly io: LinkIo; readonly helper: LinkHelper } {
    if (!this.opened) {
      const { reactor, log, program } = this.around;
      const kernel = loadKernelCalls();
      const own = this.around.watcher ? undefined : new PortableDescriptorWatcher(kernel, log);
      const watcher = this.around.watcher ?? own!;
      const helper = new LinkHelper(program, { kernel, watcher, clock: reactor, isRoot: process.geteuid?.() === 0, path: process.env.PATH ?? "/usr/bin:/bin" });
      this.opened = { io: openLinkIo({ kernel, watcher, reactor, log }), helper, watcher: own };
    }
    return this.opened;
  }
}

const shownLetters = 7;

/**
 * The name and address of an interface of ours, always the same for the same network of the same home: `tt-`, the
 * network's name as far as it goes, and four digits that tell it from others. 15 letters are all the kernel allows.
 */
export function hostEnd(scope: string, id: string, shown = id): HostEnd {
  const digest = createHash("sha256").update(`${scope}\0${id}`).digest();
  const letters = shown.toLowerCase().replace(/[^a-z0-9]/g, "").slice(0, shownLetters) || "net";
  // A first byte of 0x0a: a single station, locally administered (IEEE 802, 8.4).
  const mac: MacNumber = 0x0a * 2 ** 40 + digest.readUIntBE(2, 5);
  return { name: `tt-${letters}-${digest.toString("hex", 0, 2)}`, mac };
}
