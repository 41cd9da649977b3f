import type { FlowRecord } from "../../../core/contract/network";

/* The order of conversations in a table. Pure. */

export const flowColumns = [
  { id: "protocol", label: "Protocol" },
  { id: "guest", label: "Guest" },
  { id: "remote", label: "With" },
  { id: "state", label: "State" },
  { id: "sent", label: "Sent" },
  { id: "received", label: "Received" },
  { id: "age", label: "For" },
] as const;
export type FlowColumn = (typeof flowColumns)[number]["id"];

export interface FlowOrder {
  readonly column: FlowColumn;
  readonly descending: boolean;
}

/** Figures are asked for to see the largest, words to find one. */
export function orderAfterClick(order: FlowOrder, column: FlowColumn): FlowOrder {
  if (order.column === column) return { column, descending: !order.descending };
  return { column, descending: column === "sent" || column === "received" || column === "age" };
}

export function sortedFlows(flows: readonly FlowRecord[], { column, descending }: FlowOrder): FlowRecord[] {
  const compare = comparisons[column];
  // The oldest first among equals, so that rows do not change places while their figures do not.
  return [...flows].sort((one, other) => (descending ? -1 : 1) * compare(one, other) || one.id - other.id);
}

const comparisons: Readonly<Record<FlowColumn, (one: FlowRecord, other: FlowRecord) => number>> = {
  protocol: (one, other) => one.protocol.localeCompare(other.protocol),
  guest: (one, other) => byEnd(one.guest, other.guest),
  remote: (one, other) => byEnd(one.remote, other.remote),
  state: (one, other) => one.state.localeCompare(other.state),
  sent: (one, other) => one.sentBytes - other.sentBytes,
  received: (one, other) => one.receivedBytes - other.receivedBytes,
  age: (one, other) => other.startedAt - one.startedAt,
};

/** By address as a number, then by port. */
function byEnd(one: FlowRecord["guest"], other: FlowRecord["guest"]): number {
  return numberOf(one.address) - numberOf(other.address) || one.port - other.port;
}

function numberOf(address: string): number {
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** "10.0.2.15:5022"; an echo has no port. */
export function endText({ address, port }: FlowRecord["guest"], protocol: FlowRecord["protocol"]): string {
  return protocol === "icmp" ? address : `${address}:${port}`;
}
