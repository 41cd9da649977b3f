import { describe, expect, it } from "vitest";
import { parseArguments } from "../../../core/emulator/argv";

const needed = ["-m", "256", "-pidfile", "/p", "-bios", "/b", "-vgabios", "/v"];

function refusal(...extra: string[]): string {
  const result = parseArguments([...needed, ...extra]);
  return result.ok ? "accepted" : result.error;
}

describe("the machine's command line", () => {
  it("describes a whole machine", () => {
    const result = parseArguments([
      ...needed,
      ...["-S", "-name", "Ünï côde", "-uuid", "u", "-kernel", "/k", "-initrd", "/i", "-append", "a b", "-boot", "d"],
      ...["-monitor", "/m", "-serial", "/s", "-serial-log", "/l", "-agent", "/a", "-vnc", "/d", "-dump-dir", "/x", "-incoming", "defer"],
      ...["-disk", '{"id":"disk0","file":"/0"}', "-disk", '{"id":"disk1","file":"/1","readOnly":true}', "-cdrom", '{"id":"cd0","file":null}'],
      ...["-net", '{"id":"net0","mac":"52:54:00:AB:cd:01","link":true,"path":"/n"}'],
    ]);
    expect(result).toMatchObject({
      ok: true,
      value: {
        name: "Ünï côde",
        memoryMiB: 256,
        boot: "cd",
        append: "a b",
        incoming: true,
        disks: [
          { id: "disk0", file: "/0", readOnly: false },
          { id: "disk1", file: "/1", readOnly: true },
        ],
        cdrom: { id: "cd0", file: null },
      },
    });
    if (!result.ok) return;
    expect(result.value.adapters).toHaveLength(4);
    expect(result.value.adapters[0]).toEqual({ id: "net0", mac: "52:54:00:ab:cd:01", link: true, path: "/n" });
    expect(result.value.adapters[3]?.link).toBe(false);
  });

  it.each([
    [["-frob", "1"], /Unknown option "-frob"/],
    [["-name"], /needs a value/],
    [["-m", "1"], /once/],
    [["-boot", "x"], /-boot must be/],
    [["-initrd", "/i"], /needs -kernel/],
    [["-incoming", "tcp:1"], /must be defer/],
    [["-disk", "{"], /is not JSON/],
    [["-disk", "[]"], /must be a JSON object/],
    [["-disk", '{"id":"disk1","file":"/x"}'], /must have the id disk0/],
    [["-disk", '{"id":"disk0"}'], /needs a file/],
    [["-disk", '{"id":"disk0","file":"/x","cache":"none"}'], /no field cache/],
    [["-disk", '{"id":"disk0","file":"/x"}', "-disk", '{"id":"disk1","file":"/x"}'], /share one image/],
    [["-net", '{"id":"net0","mac":"nonsense"}'], /no MAC address/],
    [["-net", '{"id":"net0","mac":"01:00:5e:00:00:01"}'], /group address/],
    [["-net", '{"id":"net0","mac":"52:54:00:00:00:01"}', "-net", '{"id":"net1","mac":"52:54:00:00:00:01"}'], /share one MAC/],
    [["-cdrom", '{"file":5}'], /path or null/],
  ])("refuses %j with a reason", (extra, reason) => {
    expect(refusal(...extra)).toMatch(reason);
  });

  it("names everything that is missing", () => {
    const result = parseArguments([]);
    expect(result.ok ? "" : result.error).toBe("Missing -pidfile, -bios, -vgabios, -m");
  });

  it.each(["0", "15", "2048", "1e3", "-5", "128M"])("refuses %s MiB of memory", (memory) => {
    const result = parseArguments(["-m", memory, "-pidfile", "/p", "-bios", "/b", "-vgabios", "/v"]);
    expect(result.ok ? "" : result.error).toMatch(/whole number of MiB between 16 and 2047/);
  });
});
