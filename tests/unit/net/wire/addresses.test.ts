import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as wire from "../../../../core/net/wire/addresses";
import { any16, any32, anyAddress, anyMac, expectTotal, written } from "./hostile";

const anySubnet = fc.tuple(anyAddress, fc.integer({ min: 0, max: 32 })).map(([address, prefix]) => ({ base: (address & wire.subnetMask(prefix)) >>> 0, prefix }));

describe("addresses", () => {
  it("are read as they were written, as numbers and as text", () => {
    fc.assert(
      fc.property(anyAddress, anyMac, any16, any32, (address, mac, small, large) => {
        expect(wire.parseIpv4(wire.formatIpv4(address))).toBe(address);
        expect(wire.parseMac(wire.formatMac(mac))).toBe(mac);
        expect(wire.formatMac(mac)).toMatch(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/);
        const macBytes = written(6, (bytes, at) => wire.writeMac(bytes, at, mac));
        expect(wire.readMac(macBytes.bytes, macBytes.at)).toBe(mac);
        const two = written(2, (bytes, at) => wire.write16(bytes, at, small));
        expect(wire.read16(two.bytes, two.at)).toBe(small);
        const four = written(4, (bytes, at) => wire.write32(bytes, at, large));
        expect(wire.read32(four.bytes, four.at)).toBe(large);
      }),
    );
  });

  it("are read in network order", () => {
    const bytes = Uint8Array.of(0x52, 0x54, 0x00, 0xff, 0x80, 0x01);
    expect(wire.readMac(bytes, 0)).toBe(0x525400ff8001);
    expect(wire.read32(bytes, 2)).toBe(0x00ff8001);
    expect(wire.read16(bytes, 3)).toBe(0xff80);
    expect(wire.formatIpv4(0xc0000201)).toBe("192.0.2.1");
  });

  it("are not made of texts that look like them", () => {
    for (const text of ["", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", "1.2.3.-4", "1.2.3.4 ", "0x1.2.3.4", "1e2.0.0.1", "1..2.3"]) expect(wire.parseIpv4(text)).toBeUndefined();
    for (const text of ["", "52:54:00:12:34", "52:54:00:12:34:5g", "52-54-00-12-34-56", "52:54:00:12:34:56:78", "525400123456"]) expect(wire.parseMac(text)).toBeUndefined();
    for (const text of ["10.0.0.1/24", "10.0.0.0/33", "10.0.0.0", "10.0.0.0/", "10.0.0.0/024", "10.0.0.0/8/8", "/8"]) expect(wire.parseSubnet(text)).toBeUndefined();
  });

  it("of groups are told from those of stations", () => {
    expect(wire.isGroupMac(wire.broadcastMac)).toBe(true);
    expect(wire.isGroupMac(0x01005e000001)).toBe(true);
    expect(wire.isGroupMac(0x525400123456)).toBe(false);
    expect(wire.isMulticastIpv4(0xe00000fb)).toBe(true);
    expect(wire.isMulticastIpv4(0xf0000000)).toBe(false);
    expect(wire.isLoopbackIpv4(0x7f000035)).toBe(true);
    expect(wire.isLoopbackIpv4(0x80000001)).toBe(false);
  });

  it("are never read beyond what is there", () => {
    expectTotal(fc.uint8Array({ minLength: 6, maxLength: 6 }), (bytes, at) => [wire.readMac(bytes, at), wire.read32(bytes, at + 2), wire.read16(bytes, at + 4)]);
    expect(wire.read32(Uint8Array.of(1), 0)).toBe(0x01000000);
  });
});

describe("subnets", () => {
  it("are read as they were written", () => {
    fc.assert(
      fc.property(anySubnet, (subnet) => {
        expect(wire.parseSubnet(wire.formatSubnet(subnet))).toEqual(subnet);
      }),
    );
  });

  it("hold what lies from their base to their broadcast address, and nothing else", () => {
    fc.assert(
      fc.property(anySubnet, anyAddress, (subnet, address) => {
        expect(wire.inSubnet(subnet, address)).toBe(address >= subnet.base && address <= wire.subnetBroadcast(subnet));
      }),
    );
  });

  it("overlap when an address is in both", () => {
    fc.assert(
      fc.property(anySubnet, anySubnet, (one, other) => {
        const first = Math.max(one.base, other.base);
        const last = Math.min(wire.subnetBroadcast(one), wire.subnetBroadcast(other));
        expect(wire.subnetsOverlap(one, other)).toBe(first <= last);
        expect(wire.subnetsOverlap(other, one)).toBe(first <= last);
      }),
    );
    expect(wire.subnetsOverlap({ base: 0x0a000000, prefix: 8 }, { base: 0x0a090000, prefix: 24 })).toBe(true);
  });
});
