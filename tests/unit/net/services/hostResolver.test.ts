import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ManualClock } from "../../../../core/base/clock";
import { parseNameServers, ResolverFile } from "../../../../core/net/services/hostResolver";
import { formatIpv4 } from "../../../../core/net/wire/addresses";
import { useTemporaryFolder } from "../../../support/temporaryFolder";

const texts = (servers: readonly { address: number; port: number }[]): string[] => servers.map(({ address, port }) => `${formatIpv4(address)}:${port}`);

describe("the host's resolver", () => {
  const temporary = useTemporaryFolder();

  it("is whom its file names, three at most, without comments and what is no address", () => {
    expect(texts(parseNameServers("# by hand\nsearch example.org\nnameserver 127.0.0.53 # stub\nnameserver\t192.0.2.1\n nameserver 9.9.9.9\n;nameserver 8.8.8.8\n"))).toEqual(["127.0.0.53:53", "192.0.2.1:53"]);
    expect(texts(parseNameServers("nameserver 2001:db8::1\nnameserver fe80::1%eth0\nnameserver 1.2.3\nnameserver 0.0.0.0\nnameserverx 1.1.1.1"))).toEqual(["127.0.0.1:53"]);
    expect(texts(parseNameServers(["1", "2", "3", "4"].map((last) => `nameserver 192.0.2.${last}`).join("\n")))).toEqual(["192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53"]);
  });

  it("is followed when the file is written, replaced, taken away, or is a link to one that is", () => {
    const folder = temporary.path;
    const clock = new ManualClock();
    const target = join(folder, "run", "stub.conf");
    mkdirSync(join(folder, "run"));
    writeFileSync(target, "nameserver 192.0.2.1\n");
    const link = join(folder, "resolv.conf");
    symlinkSync(target, link);
    const resolver = new ResolverFile(clock, link);
    expect(texts(resolver.servers())).toEqual(["192.0.2.1:53"]);
    writeFileSync(`${target}.new`, "nameserver 192.0.2.2\n");
    renameSync(`${target}.new`, target);
    clock.advance(1000);
    expect(texts(resolver.servers())).toEqual(["192.0.2.2:53"]);
    writeFileSync(target, "nameserver 192.0.2.3\nnameserver 192.0.2.4\n");
    expect(texts(resolver.servers())).toEqual(["192.0.2.2:53"]);
    clock.advance(1000);
    expect(texts(resolver.servers())).toEqual(["192.0.2.3:53", "192.0.2.4:53"]);
    rmSync(target);
    clock.advance(1000);
    expect(resolver.servers()).toEqual([]);
    mkdirSync(target);
    clock.advance(1000);
    expect(resolver.servers()).toEqual([]);
  });

  it("is nobody while the file cannot be looked at, and is followed when it can again", () => {
    const clock = new ManualClock();
    const path = join(temporary.path, "resolv.conf");
    symlinkSync("resolv.conf", path);
    const resolver = new ResolverFile(clock, path);
    expect(resolver.servers()).toEqual([]);
    rmSync(path);
    writeFileSync(path, "nameserver 192.0.2.1\n");
    clock.advance(1000);
    expect(texts(resolver.servers())).toEqual(["192.0.2.1:53"]);
  });
});
