import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { FlowRecord } from "../../../../core/contract/network";
import { PortForward, RateLimit } from "../../../../core/contract/network";
import { forwardOf, newForwardDraft, portText, reachedAt } from "../../../../renderer/features/machines/network/forwardDraft";
import { rateDraftOf, rateOf } from "../../../../renderer/features/machines/network/limitsDraft";
import { endText, orderAfterClick, sortedFlows } from "../../../../renderer/ui/network/flows";

describe("a forward as it is typed", () => {
  const ssh = { ...newForwardDraft, hostPort: "2222", guestPort: " 22 " };

  it("leads from this computer alone unless more is said", () => {
    expect(forwardOf(ssh).forward).toEqual({ protocol: "tcp", hostAddress: "127.0.0.1", hostPort: 2222, guestPort: 22 });
    expect(forwardOf({ ...ssh, from: "everywhere", count: "10" }).forward).toEqual({ protocol: "tcp", hostAddress: "0.0.0.0", hostPort: 2222, guestPort: 22, count: 10 });
  });

  it("is none, and nothing is wrong, while something is still empty", () => {
    expect(forwardOf(newForwardDraft)).toEqual({ faults: {} });
    expect(forwardOf({ ...ssh, from: "address" })).toEqual({ faults: {} });
  });

  it("says what is wrong beside its field", () => {
    expect(Object.keys(forwardOf({ ...ssh, hostPort: "70000", guestPort: "x" }).faults)).toEqual(["hostPort", "guestPort"]);
    expect(forwardOf({ ...ssh, hostPort: "65530", count: "10" }).faults).toEqual({ hostPort: "10 ports from here on go beyond 65535." });
    expect(Object.keys(forwardOf({ ...ssh, from: "address", address: "1.2.3", count: "2000" }).faults)).toEqual(["address", "count"]);
  });

  it("never asks for what the contract refuses", () => {
    const text = fc.oneof(fc.integer({ min: -1, max: 70_000 }).map(String), fc.string({ maxLength: 6 }));
    fc.assert(
      fc.property(fc.constantFrom("local", "everywhere", "address"), fc.oneof(fc.ipV4(), fc.string()), text, text, text, (from, address, hostPort, guestPort, count) => {
        const { forward } = forwardOf({ protocol: "udp", from, address, hostPort, guestPort, count });
        return forward === undefined || (PortForward.safeParse(forward).success && Math.max(forward.hostPort, forward.guestPort) + (forward.count ?? 1) <= 65_536);
      }),
    );
  });

  it("is reached at an address that there is", () => {
    expect(reachedAt({ protocol: "tcp", hostAddress: "0.0.0.0", hostPort: 80, guestPort: 80 })).toBe("127.0.0.1");
    expect(portText(8000, 10)).toBe("8000 to 8009");
  });
});

describe("a rate as it is typed", () => {
  it("is megabits a second, and nothing for no limit", () => {
    expect(rateOf({ toGuest: "10", fromGuest: "" })).toEqual({ toGuest: 10_000_000 });
    expect(rateOf({ toGuest: "0,5", fromGuest: "0.008" })).toEqual({ toGuest: 500_000, fromGuest: 8000 });
    expect(rateOf({ toGuest: " ", fromGuest: "" })).toBeNull();
    expect(rateOf({ toGuest: "0.001", fromGuest: "" })).toBeUndefined();
    expect(rateOf({ toGuest: "much", fromGuest: "" })).toBeUndefined();
  });

  it("comes back as it was set", () => {
    fc.assert(
      fc.property(fc.option(fc.integer({ min: 8000, max: 10_000_000_000 }), { nil: undefined }), (toGuest) => {
        const rate = toGuest === undefined ? {} : { toGuest };
        expect(rateOf(rateDraftOf(rate)) ?? {}).toEqual(rate);
        expect(RateLimit.safeParse(rate).success).toBe(true);
      }),
    );
  });
});

describe("the order of conversations", () => {
  const flow = (id: number, part: Partial<FlowRecord> = {}): FlowRecord => ({ id, protocol: "tcp", direction: "out", guest: { address: "10.0.2.15", port: 5000 + id }, remote: { address: "1.1.1.1", port: 443 }, state: "established", sentBytes: 0, receivedBytes: 0, startedAt: 1000, lastAt: 1000, ...part });
  const ids = (flows: FlowRecord[]): number[] => flows.map(({ id }) => id);

  it("is by addresses as numbers, and by age among equals", () => {
    const flows = [flow(3, { remote: { address: "10.0.0.1", port: 1 } }), flow(2, { remote: { address: "9.0.0.1", port: 2 } }), flow(1, { remote: { address: "9.0.0.1", port: 2 } })];
    expect(ids(sortedFlows(flows, { column: "remote", descending: false }))).toEqual([1, 2, 3]);
  });

  it("begins with the largest figure, and turns round at the second click", () => {
    const flows = [flow(1, { sentBytes: 5 }), flow(2, { sentBytes: 500 })];
    const first = orderAfterClick({ column: "age", descending: false }, "sent");
    expect(ids(sortedFlows(flows, first))).toEqual([2, 1]);
    expect(ids(sortedFlows(flows, orderAfterClick(first, "sent")))).toEqual([1, 2]);
  });

  it("leaves the port out where there is none", () => {
    expect(endText({ address: "1.1.1.1", port: 7 }, "icmp")).toBe("1.1.1.1");
    expect(endText({ address: "1.1.1.1", port: 7 }, "udp")).toBe("1.1.1.1:7");
  });
});
