import type { IpOutput } from "../../../core/net/nat/ipOutput";
import type { Ipv4Address } from "../../../core/net/wire/addresses";

export interface CapturedPacket {
  readonly from: Ipv4Address;
  readonly to: Ipv4Address;
  readonly protocol: number;
  readonly payload: Uint8Array;
}

/** Packets for guests, kept for a test to look at. The buffer is dirty before every packet, as a batch's is. */
export class CapturedOutput implements IpOutput {
  readonly packets: CapturedPacket[] = [];
  readonly buffer = new Uint8Array(70_000);
  private open: { from: Ipv4Address; to: Ipv4Address; protocol: number; at: number; length: number } | undefined;
  private shift = 0;

  constructor(readonly maxPayload = 1480) {}

  begin(from: Ipv4Address, to: Ipv4Address, protocol: number, length: number): number {
    if (this.open) throw new Error("a packet was begun before the last one was ended");
    if (length > this.maxPayload) throw new Error(`a payload of ${length} bytes would be fragmented`);
    this.buffer.fill(0xa5);
    this.shift = (this.shift + 1) % 16;
    const at = 34 + this.shift;
    this.open = { from, to, protocol, at, length };
    return at;
  }

  end(): void {
    if (!this.open) throw new Error("a packet was ended that was not begun");
    const { from, to, protocol, at, length } = this.open;
    this.open = undefined;
    this.packets.push({ from, to, protocol, payload: this.buffer.slice(at, at + length) });
  }

  /** What came since the last call. */
  take(): CapturedPacket[] {
    return this.packets.splice(0);
  }
}
