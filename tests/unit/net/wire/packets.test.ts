import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ArpOperation, arpBytes, readArp, writeArp } from "../../../../core/net/wire/arp";
import { ethernetHeaderBytes, readEthernet, writeEthernet } from "../../../../core/net/wire/ethernet";
import { echoIdentifier, echoSequence, icmpHeaderBytes, IcmpType, quotedPorts, readIcmp, writeIcmp } from "../../../../core/net/wire/icmp";
import { ipv4HeaderBytes, readIpv4, writeIpv4 } from "../../../../core/net/wire/ipv4";
import { checksum } from "../../../../core/net/wire/checksum";
import { readUdp, udpChecksumHolds, udpHeaderBytes, writeUdp } from "../../../../core/net/wire/udp";
import { any16, any32, anyAddress, anyByte, anyMac, damaged, expectTotal, written } from "./hostile";

const anyPayload = fc.uint8Array({ maxLength: 300 });

describe("Ethernet headers", () => {
  const fields = fc.record({ destination: anyMac, source: anyMac, type: any16 });

  it("are read as they were written", () => {
    fc.assert(
      fc.property(fields, (header) => {
        const { bytes, at, end } = written(ethernetHeaderBytes, (target, where) => writeEthernet(target, where, header));
        expect(readEthernet(bytes, at, end)).toEqual(header);
      }),
    );
  });

  it("are read from any bytes without a fault, and from 14 at least", () => {
    expectTotal(fc.uint8Array({ maxLength: 20 }), readEthernet);
    expect(readEthernet(new Uint8Array(20), 0, 13)).toBeUndefined();
  });
});

describe("ARP packets", () => {
  const fields = fc.record({ operation: any16, senderMac: anyMac, senderAddress: anyAddress, targetMac: anyMac, targetAddress: anyAddress });

  it("are read as they were written", () => {
    fc.assert(
      fc.property(fields, (packet) => {
        const { bytes, at, end } = written(arpBytes, (target, where) => writeArp(target, where, packet));
        expect(readArp(bytes, at, end)).toEqual(packet);
      }),
    );
  });

  it("are read from any bytes without a fault", () => {
    expectTotal(damaged(fields.map((packet) => written(arpBytes, (bytes, at) => writeArp(bytes, at, packet)).bytes.slice(7, 7 + arpBytes))), readArp);
  });

  it("of other hardware and protocols are none of ours", () => {
    for (const [where, value] of [[1, 6], [2, 0x86], [4, 8], [5, 16]] as const) {
      const bytes = new Uint8Array(arpBytes);
      writeArp(bytes, 0, { operation: ArpOperation.request, senderMac: 1, senderAddress: 2, targetMac: 3, targetAddress: 4 });
      expect(readArp(bytes, 0, arpBytes)).toBeDefined();
      bytes[where] = value;
      expect(readArp(bytes, 0, arpBytes)).toBeUndefined();
    }
  });
});

const ipv4Fields = fc.record({
  source: anyAddress,
  destination: anyAddress,
  protocol: anyByte,
  ttl: anyByte,
  service: anyByte,
  identification: any16,
  dontFragment: fc.boolean(),
  moreFragments: fc.boolean(),
  fragmentOffset: fc.nat({ max: 0x1fff }).map((words) => words * 8),
});

/** A whole packet, as bytes of their own. */
function ipv4Bytes(fields: Omit<Parameters<typeof writeIpv4>[2], "length">, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(ipv4HeaderBytes + payload.length);
  bytes.set(payload, ipv4HeaderBytes);
  writeIpv4(bytes, 0, { ...fields, length: payload.length });
  return bytes;
}

describe("IPv4 packets", () => {
  it("are read as they were written, padding left out", () => {
    fc.assert(
      fc.property(ipv4Fields, anyPayload, fc.nat({ max: 30 }), (fields, payload, padding) => {
        const { bytes, at, end } = written(ipv4HeaderBytes, (target, where) => writeIpv4(target, where, { ...fields, length: 0 }));
        expect(readIpv4(bytes, at, end)).toEqual({ ...fields, payload: end, end });
        const packet = ipv4Bytes(fields, payload);
        const frame = new Uint8Array(packet.length + padding);
        frame.set(packet);
        expect(readIpv4(frame, 0, frame.length)).toEqual({ ...fields, payload: 20, end: packet.length });
      }),
    );
  });

  it("with options have their payload behind them", () => {
    const bytes = new Uint8Array(28);
    writeIpv4(bytes, 0, { source: 1, destination: 2, protocol: 17, length: 8, ttl: 64 });
    bytes[0] = 0x46;
    bytes.fill(1, 20, 24);
    bytes.set([0, 0], 10);
    const sum = checksum(bytes, 0, 24);
    bytes.set([sum >>> 8, sum & 255], 10);
    expect(readIpv4(bytes, 0, 28)).toMatchObject({ payload: 24, end: 28 });
  });

  it("are refused with the reason", () => {
    const good = ipv4Bytes({ source: 1, destination: 2, protocol: 6, ttl: 64 }, new Uint8Array(10));
    const changed = (where: number, value: number): unknown => readIpv4(good.map((byte, index) => (index === where ? value : byte)), 0, good.length);
    expect(readIpv4(good, 0, 19)).toBe("short");
    expect(changed(0, 0x65)).toBe("version");
    expect(changed(0, 0x44)).toBe("length");
    expect(changed(3, 19)).toBe("length");
    expect(changed(3, 31)).toBe("length");
    expect(changed(8, 63)).toBe("checksum");
  });

  it("are read from any bytes without a fault, and end within them", () => {
    const read = (bytes: Uint8Array, at: number, end: number): unknown => {
      const packet = readIpv4(bytes, at, end);
      if (typeof packet !== "string") {
        expect(packet.payload).toBeLessThanOrEqual(packet.end);
        expect(packet.end).toBeLessThanOrEqual(end);
      }
      return packet;
    };
    const valid = fc.tuple(ipv4Fields, anyPayload).map(([fields, payload]) => ipv4Bytes(fields, payload));
    expectTotal(damaged(valid), read);
    expectTotal(fc.uint8Array({ maxLength: 60 }), read);
  });
});

describe("ICMP messages", () => {
  it("are read as they were written", () => {
    fc.assert(
      fc.property(anyByte, anyByte, any32, anyPayload, (type, code, rest, payload) => {
        const { bytes, at, end } = written(icmpHeaderBytes + payload.length, (target, where, behind) => {
          target.set(payload, where + icmpHeaderBytes);
          writeIcmp(target, where, behind, type, code, rest);
        });
        expect(readIcmp(bytes, at, end)).toEqual({ type, code, rest, payload: at + 8, end });
      }),
    );
    expect([echoIdentifier(0x1234abcd), echoSequence(0x1234abcd)]).toEqual([0x1234, 0xabcd]);
    expect(quotedPorts(Uint8Array.of(0, 53, 0x80, 1), 0)).toEqual({ source: 53, destination: 0x8001 });
  });

  it("with a wrong checksum are none", () => {
    const bytes = new Uint8Array(16);
    writeIcmp(bytes, 0, 16, IcmpType.echoRequest, 0, 0x00010002);
    expect(readIcmp(bytes, 0, 16)).toBeDefined();
    bytes[15] = 1;
    expect(readIcmp(bytes, 0, 16)).toBeUndefined();
  });

  it("are read from any bytes without a fault", () => {
    expectTotal(fc.uint8Array({ maxLength: 40 }), readIcmp);
    expectTotal(damaged(anyPayload.map((payload) => written(8 + payload.length, (bytes, at, end) => writeIcmp(bytes, at, end, 8, 0, 1)).bytes.slice(7, 15 + payload.length))), readIcmp);
  });
});

describe("UDP datagrams", () => {
  const valid = fc.tuple(anyAddress, anyAddress, any16, any16, anyPayload).map(([from, to, sourcePort, destinationPort, payload]) => ({ from, to, sourcePort, destinationPort, payload }));
  const put = ({ from, to, sourcePort, destinationPort, payload }: { from: number; to: number; sourcePort: number; destinationPort: number; payload: Uint8Array }) =>
    written(udpHeaderBytes + payload.length, (target, where, behind) => {
      target.set(payload, where + udpHeaderBytes);
      writeUdp(target, where, behind, from, to, sourcePort, destinationPort);
    });

  it("are read as they were written, with a checksum that holds", () => {
    fc.assert(
      fc.property(valid, (fields) => {
        const { bytes, at, end } = put(fields);
        expect(readUdp(bytes, at, end + 5)).toEqual({ sourcePort: fields.sourcePort, destinationPort: fields.destinationPort, hasChecksum: true, payload: at + 8, end });
        expect(udpChecksumHolds(bytes, at, end, fields.from, fields.to)).toBe(true);
      }),
    );
  });

  it("that were damaged or sent to others have a checksum that does not hold", () => {
    fc.assert(
      fc.property(valid, fc.nat(), fc.integer({ min: 0, max: 7 }), (fields, where, bit) => {
        const { bytes, at, end } = put(fields);
        expect(udpChecksumHolds(bytes, at, end, fields.from, (fields.to ^ 0x10) >>> 0)).toBe(false);
        const index = at + (where % (end - at));
        bytes[index] = (bytes[index] ?? 0) ^ (1 << bit);
        // Both bytes of the checksum gone would mean that there is none.
        if (bytes[at + 6] !== 0 || bytes[at + 7] !== 0) expect(udpChecksumHolds(bytes, at, end, fields.from, fields.to)).toBe(false);
      }),
    );
  });

  it("whose sum comes out as zero carry its other form, for zero would mean none", () => {
    const { bytes, at, end } = put({ from: 0, to: 0, sourcePort: 0xffff - 17 - 8 - 8, destinationPort: 0, payload: new Uint8Array(0) });
    expect([bytes[at + 6], bytes[at + 7]]).toEqual([0xff, 0xff]);
    expect(udpChecksumHolds(bytes, at, end, 0, 0)).toBe(true);
  });

  it("without a checksum count as right", () => {
    const { bytes, at, end } = put({ from: 1, to: 2, sourcePort: 3, destinationPort: 4, payload: Uint8Array.of(9) });
    bytes.set([0, 0], at + 6);
    expect(readUdp(bytes, at, end)?.hasChecksum).toBe(false);
    expect(udpChecksumHolds(bytes, at, end, 1, 2)).toBe(true);
  });

  it("are read from any bytes without a fault", () => {
    expectTotal(damaged(valid.map((fields) => put(fields).bytes.slice(7, -11))), readUdp);
    for (const length of [0, 7, 10]) expect(readUdp(Uint8Array.of(0, 1, 0, 2, 0, length, 0, 0, 0), 0, 9)).toBeUndefined();
  });
});

