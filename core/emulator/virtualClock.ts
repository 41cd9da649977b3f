/**
 * The guest's time: it stands still while the guest is stopped and goes on from the saved moment after a restore, so
 * that no timer of the guest sees a jump. Milliseconds, with fractions.
 */
export class VirtualClock {
  private offset = 0;
  private stoppedAt: number | undefined;

  constructor(private readonly monotonic: () => number) {}

  readonly now = (): number => (this.stoppedAt ?? this.monotonic()) - this.offset;

  stop(): void {
    this.stoppedAt ??= this.monotonic();
  }

  run(): void {
    if (this.stoppedAt === undefined) return;
    this.offset += this.monotonic() - this.stoppedAt;
    this.stoppedAt = undefined;
  }

  /** Goes on from `now`. */
  set(now: number): void {
    this.offset += this.now() - now;
  }
}
