import { existsSync, readFileSync } from "node:fs";
import { TerrariumError, type ErrorData } from "../contract/errors";
import type { DoctorCheck, HostInfo } from "../contract/model";
import type { FabricHello } from "../net/control";
import { bridgingUnsupported } from "../net/link/hostCards";
import { helperCommand, withoutPrivileges } from "../net/link/linkHelper";
import { isMissing } from "../storage/fileErrors";

const tunDevice = "/dev/net/tun";
/** CAP_NET_ADMIN and CAP_NET_RAW (capabilities(7)). */
const neededCapabilities = (1n << 12n) | (1n << 13n);

/** The modes that adapters can be attached with on this host. Whether the right to open interfaces is given shows when it is asked for. */
export function networkModes(platform: NodeJS.Platform = process.platform): HostInfo["networkModes"] {
  const because = withoutInterfaces(platform);
  const interfaces = because ? { available: false, reason: because.message, remedy: because.remedy } : { available: true };
  const hasTun = because !== undefined || existsSync(tunDevice);
  const hostOnly = hasTun ? interfaces : { available: false, reason: `This computer has no ${tunDevice}, which such a network needs.`, remedy: "Load the kernel's module: sudo modprobe tun." };
  return [...(["none", "nat", "nat-network", "internal"] as const).map((mode) => ({ mode, available: true })), { mode: "host-only", ...hostOnly }, { mode: "bridged", ...interfaces }];
}

/** Why interfaces of this host cannot be opened, as far as that can be told without asking anybody. */
function withoutInterfaces(platform: NodeJS.Platform): ErrorData | undefined {
  if (platform !== "linux") return bridgingUnsupported(platform);
  const isRoot = process.geteuid?.() === 0;
  if (isRoot && (capabilities() & neededCapabilities) !== neededCapabilities) {
    return { code: "unavailable", message: "Opening an interface of the host takes the rights CAP_NET_ADMIN and CAP_NET_RAW, which this container does not have.", remedy: withoutPrivileges };
  }
  try {
    helperCommand({ node: process.execPath, env: {}, script: "" }, isRoot, process.env["PATH"] ?? "");
    return undefined;
  } catch (error) {
    if (error instanceof TerrariumError) return error.toData();
    throw error;
  }
}

/** The rights of this process. All of them where the system does not tell: then it shows later. */
function capabilities(): bigint {
  try {
    const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    return effective === undefined ? -1n : BigInt(`0x${effective}`);
  } catch (error) {
    if (isMissing(error)) return -1n;
    throw error;
  }
}

/** What the doctor says of the fabric that runs, if one does. */
export function fabricCheck(hello: FabricHello | undefined, problem: ErrorData | undefined): DoctorCheck {
  const check = { id: "fabric", title: "Network fabric" };
  if (problem) return { ...check, status: "error", detail: problem.message, remedy: problem.remedy };
  if (!hello) return { ...check, status: "ok", detail: "It does not run: it is started with the first machine that has a network." };
  if (hello.fast) return { ...check, status: "ok", detail: `It runs (process ${hello.pid}) with its fast loop.` };
  return { ...check, status: "ok", detail: `It runs (process ${hello.pid}) on the runtime's own loop, which is slower; logs/fabric.log in the home says why.` };
}
