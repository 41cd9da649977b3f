import { randomBytes } from "node:crypto";

/** A MAC address in the range that KVM and QEMU use for guests, 52:54:00:xx:xx:xx, that is not in `taken`. */
export function newMac(taken: Iterable<string>, random: (bytes: number) => Uint8Array = randomBytes): string {
  const used = new Set(taken);
  for (;;) {
    const tail = [...random(3)].map((byte) => byte.toString(16).padStart(2, "0"));
    const mac = ["52", "54", "00", ...tail].join(":");
    if (!used.has(mac)) return mac;
  }
}
