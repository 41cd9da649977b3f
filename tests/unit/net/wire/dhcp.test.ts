import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { subnetMask } from "../../../../core/net/wire/addresses";
import { DhcpOperation, DhcpOption, DhcpType, minDhcpBytes, readDhcp, writeDhcp, type DhcpMessage, type DhcpOptions } from "../../../../core/net/wire/dhcp";
import { any16, any32, anyAddress, anyByte, anyMac, damaged, expectTotal } from "./hostile";

const anyText = fc.array(fc.integer({ min: 1, max: 255 }), { minLength: 1, maxLength: 60 }).map((codes) => String.fromCharCode(...codes));
const anyList = fc.array(anyAddress, { minLength: 1, maxLength: 5 });
const anyRoute = fc.tuple(anyAddress, fc.integer({ min: 0, max: 32 }), anyAddress).map(([base, prefix, router]) => ({ to: { base: (base & subnetMask(prefix)) >>> 0, prefix }, router }));

const anyOptions: fc.Arbitrary<DhcpOptions> = fc.record(
  {
    subnetMask: any32,
    routers: anyList,
    dnsServers: anyList,
    hostname: anyText,
    domain: anyText,
    mtu: any16,
    requestedAddress: anyAddress,
    leaseSeconds: any32,
    server: anyAddress,
    wanted: fc.array(anyByte, { minLength: 1, maxLength: 300 }),
    text: anyText,
    maxMessage: any16,
    renewalSeconds: any32,
    rebindingSeconds: any32,
    clientIdentifier: fc.uint8Array({ minLength: 2, maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString("hex")),
    routes: fc.array(anyRoute, { minLength: 1, maxLength: 60 }),
  },
  { requiredKeys: [] },
);

const anyMessage: fc.Arbitrary<DhcpMessage> = fc.record({
  operation: anyByte,
  type: anyByte,
  transaction: any32,
  seconds: any16,
  broadcast: fc.boolean(),
  clientAddress: anyAddress,
  yourAddress: anyAddress,
  nextServer: anyAddress,
  relay: anyAddress,
  clientMac: anyMac,
  options: anyOptions,
});

const plain: DhcpMessage = {
  operation: DhcpOperation.request,
  type: DhcpType.discover,
  transaction: 0x12345678,
  seconds: 0,
  broadcast: false,
  clientAddress: 0,
  yourAddress: 0,
  nextServer: 0,
  relay: 0,
  clientMac: 0x525400123456,
  options: {},
};

function put(message: DhcpMessage, room = 4000): Uint8Array {
  const bytes = new Uint8Array(room + 16).fill(0xa5);
  const end = writeDhcp(bytes, 5, 5 + room, message);
  expect(end).toBeLessThanOrEqual(5 + room);
  expect(bytes.subarray(0, 5).every((byte) => byte === 0xa5) && bytes.subarray(5 + room).every((byte) => byte === 0xa5)).toBe(true);
  return bytes.slice(5, end);
}

/** A message with these bytes as options, in the place of its own. */
function withOptions(options: readonly number[], file: readonly number[] = [], sname: readonly number[] = []): Uint8Array {
  const bytes = new Uint8Array(240 + options.length);
  bytes.set(put(plain).subarray(0, 240));
  bytes.set(options, 240);
  bytes.set(file, 108);
  bytes.set(sname, 44);
  return bytes;
}

const optionsOf = (bytes: Uint8Array): DhcpOptions | undefined => {
  const options = readDhcp(bytes, 0, bytes.length)?.options;
  return options && (Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as DhcpOptions);
};

describe("DHCP messages", () => {
  it("are read as they were written, options longer than 255 bytes too", () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        const bytes = put(message);
        expect(bytes.length).toBeGreaterThanOrEqual(minDhcpBytes);
        expect(readDhcp(bytes, 0, bytes.length)).toEqual(message);
      }),
    );
  });

  it("keep what matters most when there is little room", () => {
    const routes = Array.from({ length: 30 }, (_, index) => ({ to: { base: (0x0a000000 + index * 256) >>> 0, prefix: 24 }, router: 1 }));
    const message = { ...plain, type: DhcpType.ack, options: { server: 1, subnetMask: 0xffffff00, routers: [1], dnsServers: [2], leaseSeconds: 3600, routes } };
    expect(optionsOf(put(message, minDhcpBytes))).toEqual({ server: 1, subnetMask: 0xffffff00, routers: [1], dnsServers: [2], leaseSeconds: 3600 });
    fc.assert(
      fc.property(anyMessage, fc.integer({ min: minDhcpBytes, max: 700 }), (any, room) => {
        const bytes = put(any, room);
        const read = readDhcp(bytes, 0, bytes.length);
        expect(read?.type).toBe(any.type);
        for (const [name, value] of Object.entries(read?.options ?? {})) if (value !== undefined) expect(value).toEqual(any.options[name as keyof DhcpOptions]);
      }),
    );
  });

  it("are read from any bytes without a fault", () => {
    expectTotal(damaged(anyMessage.map((message) => put(message))), readDhcp);
    expectTotal(fc.uint8Array({ maxLength: 320, size: "max" }), readDhcp);
  });

  it("of BOOTP, of other hardware and without the cookie are none", () => {
    expect(readDhcp(withOptions([255]), 0, 241)).toBeUndefined();
    for (const where of [1, 2, 236, 239]) {
      const bytes = put(plain);
      bytes[where] = 77;
      expect(readDhcp(bytes, 0, bytes.length)).toBeUndefined();
    }
    expect(readDhcp(put(plain), 0, 239)).toBeUndefined();
  });

  it("may go on in the fields for names, in this order: options, file, sname", () => {
    const bytes = withOptions([52, 1, 3, 53, 1, 1, 12, 1, 0x61, 255], [12, 1, 0x62, 255], [12, 1, 0x63, 255]);
    expect(optionsOf(bytes)).toEqual({ hostname: "abc" });
    expect(optionsOf(withOptions([52, 1, 2, 53, 1, 1, 255], [12, 1, 0x62], [12, 1, 0x63]))).toEqual({ hostname: "c" });
    expect(optionsOf(withOptions([53, 1, 1, 255], [12, 1, 0x62], [12, 1, 0x63]))).toEqual({});
  });

  it("do not have options behind the end mark, cut off, unknown, or of a wrong length", () => {
    expect(optionsOf(withOptions([53, 1, 1, 255, 12, 1, 0x61]))).toEqual({});
    expect(optionsOf(withOptions([53, 1, 1, 12, 9, 0x61]))).toEqual({});
    expect(optionsOf(withOptions([53, 1, 1, 12]))).toEqual({});
    expect(optionsOf(withOptions([0, 0, 222, 2, 1, 2, 53, 1, 3, 12, 1, 0x61]))).toEqual({ hostname: "a" });
    expect(optionsOf(withOptions([53, 1, 1, 26, 1, 5, 50, 3, 1, 2, 3, 6, 5, 1, 2, 3, 4, 5, 61, 1, 7, 12, 2, 0, 0]))).toEqual({});
    expect(optionsOf(withOptions([53, 1, 1, DhcpOption.routes, 5, 33, 1, 2, 3, 4]))).toEqual({});
    expect(optionsOf(withOptions([53, 1, 1, DhcpOption.routes, 6, 24, 10, 9, 0, 1, 2]))).toEqual({});
  });

  it("have routes whose bits behind the prefix do not count", () => {
    expect(optionsOf(withOptions([53, 1, 1, DhcpOption.routes, 6, 4, 0xaf, 10, 0, 2, 2]))).toEqual({ routes: [{ to: { base: 0xa0000000, prefix: 4 }, router: 0x0a000202 }] });
  });
});
