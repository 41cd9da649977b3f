import { Ipv4Text, maxForwardedPorts, type PortForward } from "../../../../core/contract/network";

/* A port forward as it is typed. Pure. */

export interface ForwardDraft {
  readonly protocol: PortForward["protocol"];
  /** Who may come in: this computer, everyone, or whoever reaches one address of this computer. */
  readonly from: "local" | "everywhere" | "address";
  readonly address: string;
  readonly hostPort: string;
  readonly guestPort: string;
  /** How many ports in a row. */
  readonly count: string;
}

export const newForwardDraft: ForwardDraft = { protocol: "tcp", from: "local", address: "", hostPort: "", guestPort: "", count: "1" };

export const localAddress = "127.0.0.1";
export const everyAddress = "0.0.0.0";

export type ForwardFaults = Partial<Record<"address" | "hostPort" | "guestPort" | "count", string>>;

/** The forward that is meant, or what is wrong with it by field. What is still empty is no fault of the person's, but there is no forward. */
export function forwardOf(draft: ForwardDraft): { forward?: PortForward; faults: ForwardFaults } {
  const faults: ForwardFaults = {};
  const hostAddress = draft.from === "local" ? localAddress : draft.from === "everywhere" ? everyAddress : draft.address.trim();
  if (hostAddress !== "" && !Ipv4Text.safeParse(hostAddress).success) faults.address = "An address is four numbers of 0 to 255 with dots.";
  const count = whole(draft.count);
  if (count === undefined || count > maxForwardedPorts) faults.count = `1 to ${maxForwardedPorts} ports in a row.`;
  const [hostPort, guestPort] = (["hostPort", "guestPort"] as const).map((field) => {
    if (draft[field].trim() === "") return undefined;
    const port = whole(draft[field]);
    if (port === undefined || port > 65_535) faults[field] = "A port is 1 to 65535.";
    else if (port + (count ?? 1) - 1 > 65_535) faults[field] = `${count} ports from here on go beyond 65535.`;
    return port;
  });
  if (Object.keys(faults).length > 0 || hostAddress === "" || hostPort === undefined || guestPort === undefined) return { faults };
  return { faults, forward: { protocol: draft.protocol, hostAddress, hostPort, guestPort, ...(count === undefined || count === 1 ? {} : { count }) } };
}

function whole(text: string): number | undefined {
  return /^\d{1,6}$/.test(text.trim()) && Number(text) > 0 ? Number(text) : undefined;
}

/** Two forwards of an adapter that are the same one. */
export function sameForward(one: PortForward, other: PortForward): boolean {
  return one.protocol === other.protocol && one.hostAddress === other.hostAddress && one.hostPort === other.hostPort;
}

/** "2222", "8000 to 8009". */
export function portText(port: number, count = 1): string {
  return count === 1 ? String(port) : `${port} to ${port + count - 1}`;
}

/** The address under which this computer itself reaches the forward. */
export function reachedAt({ hostAddress }: PortForward): string {
  return hostAddress === everyAddress ? localAddress : hostAddress;
}

export function fromText({ hostAddress }: PortForward): string {
  return hostAddress === localAddress ? "this computer only" : hostAddress === everyAddress ? "everywhere" : hostAddress;
}
