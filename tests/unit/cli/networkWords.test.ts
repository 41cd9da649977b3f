import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PortForward } from "../../../core/contract/network";
import { dhcpFrom, doorFrom, forwardFrom, forwardWords, natFrom, ratesFrom, rateWords, stateWord } from "../../../core/cli/networkWords";
import { verbs } from "../../../core/cli/run";
import { readCommand } from "../../../core/cli/usage";
import { UsageError } from "../../../core/cli/verb";
import { makeConfig } from "../../support/machineConfig";

const ssh = { protocol: "tcp", hostAddress: "127.0.0.1", hostPort: 2222, guestPort: 22 };

describe("a port forward on the command line", () => {
  it.each([
    ["tcp:127.0.0.1:2222:22", ssh],
    ["tcp:2222:22", ssh],
    ["udp:0.0.0.0:5353:53", { protocol: "udp", hostAddress: "0.0.0.0", hostPort: 5353, guestPort: 53 }],
    ["tcp:8000-8009:80", { protocol: "tcp", hostAddress: "127.0.0.1", hostPort: 8000, guestPort: 80, count: 10 }],
    ["tcp:8000-8009:80-89", { protocol: "tcp", hostAddress: "127.0.0.1", hostPort: 8000, guestPort: 80, count: 10 }],
  ])("%s is read", (text, expected) => {
    expect(forwardFrom(text)).toEqual(expected);
  });

  it.each(["", "tcp", "tcp:22", "icmp:1:2", "tcp:0:22", "tcp:2222:70000", "tcp:9-8:1", "tcp:1-3:1-2", "tcp:1:2:3:4", "tcp:a:b"])("“%s” is refused", (text) => {
    expect(() => forwardFrom(text)).toThrow(UsageError);
  });

  it("is written as it is read", () => {
    const forward = fc.record({ protocol: fc.constantFrom("tcp" as const, "udp" as const), hostAddress: fc.ipV4(), hostPort: fc.integer({ min: 1, max: 60_000 }), guestPort: fc.integer({ min: 1, max: 60_000 }), count: fc.integer({ min: 2, max: 1024 }) });
    fc.assert(fc.property(forward, (each) => void expect(forwardFrom(forwardWords(each))).toEqual(PortForward.parse(each))));
    expect(forwardWords(forwardFrom("tcp:2222:22"))).toBe("tcp:127.0.0.1:2222:22");
  });

  it("is known by its port on the host alone", () => {
    for (const text of ["tcp:2222", "tcp:127.0.0.1:2222", "tcp:2222:22", "tcp:127.0.0.1:2222:22"]) expect(doorFrom(text)).toMatchObject({ protocol: "tcp", hostAddress: "127.0.0.1", hostPort: 2222 });
    expect(doorFrom("udp:0.0.0.0:53")).toMatchObject({ protocol: "udp", hostAddress: "0.0.0.0", hostPort: 53 });
    expect(() => doorFrom("2222")).toThrow(UsageError);
  });
});

describe("settings of networks on the command line", () => {
  it("keep what is not named", () => {
    const before = { enabled: true, range: { first: "10.9.0.5", last: "10.9.0.9" }, reservations: [{ mac: "52:54:00:00:00:01", address: "10.9.0.5" }] };
    expect(dhcpFrom(before, {})).toBeUndefined();
    expect(dhcpFrom(before, { "no-dhcp": true })).toEqual({ ...before, enabled: false });
    expect(dhcpFrom(before, { reserve: [""] })).toEqual({ ...before, reservations: [] });
    const two = dhcpFrom(before, { reserve: ["52:54:00:aa:00:07=10.9.0.7"] })!;
    expect(two.reservations).toEqual([...before.reservations, { mac: "52:54:00:aa:00:07", address: "10.9.0.7" }]);
    expect(dhcpFrom(two, { reserve: ["52:54:00:AA:00:07=10.9.0.8"] })?.reservations).toEqual([...before.reservations, { mac: "52:54:00:aa:00:07", address: "10.9.0.8" }]);
    expect(dhcpFrom(two, { reserve: ["52:54:00:AA:00:07="] })?.reservations).toEqual(before.reservations);
    expect(dhcpFrom(undefined, { "dhcp-range": "10.9.0.1-10.9.0.3", reserve: ["52:54:00:AA:00:01=10.9.0.2"] })).toEqual({ enabled: true, range: { first: "10.9.0.1", last: "10.9.0.3" }, reservations: [{ mac: "52:54:00:aa:00:01", address: "10.9.0.2" }] });
    for (const wrong of [{ dhcp: true, "no-dhcp": true }, { "dhcp-range": "x" }, { reserve: ["y"] }]) expect(() => dhcpFrom(undefined, wrong)).toThrow(UsageError);
    expect(natFrom(undefined, undefined, undefined)).toBeUndefined();
    expect(natFrom(undefined, "yes", undefined)).toEqual({ hostLoopback: true, hostNetworks: true });
    expect(natFrom({ hostLoopback: true, hostNetworks: true }, undefined, "no")).toEqual({ hostLoopback: true, hostNetworks: false });
  });

  it("say rates in bits a second", () => {
    expect(ratesFrom(undefined, "10M", "500k")).toEqual({ toGuest: 10_000_000, fromGuest: 500_000 });
    expect(ratesFrom({ toGuest: 8000, fromGuest: 9000 }, "", undefined)).toEqual({ fromGuest: 9000 });
    expect(ratesFrom({ toGuest: 8000 }, "", undefined)).toBeNull();
    expect(ratesFrom({ toGuest: 8000 }, undefined, undefined)).toBeUndefined();
    expect(rateWords({ toGuest: 1_500_000, fromGuest: 64_000 })).toBe("1.5 Mbit/s to the guest, 64 kbit/s from it");
    expect(() => ratesFrom(undefined, "fast", undefined)).toThrow(UsageError);
  });
});

describe("the verbs of the network", () => {
  it.each([
    ["network create lab --mode internal --subnet 10.9.0.0/24 --dhcp", "network create"],
    ["network list --json", "network list"],
    ["adapter add web nat --model e1000", "adapter add"],
    ["adapter remove web 1", "adapter remove"],
    ["adapter attach web 0 internal:lab", "adapter attach"],
    ["adapter unplug web 0", "adapter unplug"],
    ["forward add web tcp:127.0.0.1:2222:22", "forward add"],
    ["forward remove web tcp:2222", "forward remove"],
  ])("terrarium %s is understood", (line, name) => {
    expect(readCommand(verbs, line.split(" "))?.verb.name).toBe(name);
  });
});

describe("how an adapter is doing", () => {
  const [adapter] = makeConfig().adapters;
  const lan = { ...adapter!, plugged: true, attachment: { mode: "internal" as const, network: "lan" } };
  const status = { adapter: 0, connected: true, forwards: [] };

  it("is said in a word, and never that it is connected where its network does not work", () => {
    expect(stateWord({ ...lan, plugged: false }, status)).toBe("unplugged");
    expect(stateWord({ ...lan, attachment: { mode: "none" } }, status)).toBe("unplugged");
    expect(stateWord(lan, undefined)).toBe("plugged");
    expect(stateWord(lan, status)).toBe("connected");
    expect(stateWord(lan, { ...status, connected: false })).toBe("not connected");
    expect(stateWord(lan, { ...status, problem: { code: "not-found", message: "This computer has no card lan0." } })).toBe("leads nowhere");
  });
});
