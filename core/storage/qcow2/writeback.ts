import type { ImageFile } from "../blockDevice";
import type { Table, TableWrite, Taken } from "./table";

/**
 * What one commit writes, copied at one stroke, so that it fits together whatever happens meanwhile.
 *
 * The order (why no power cut hurts). Data has been written to its clusters before an entry in memory leads to them.
 *   first:  counts of references, and L2 tables that nothing in the file leads to yet          then a flush, for data too
 *   second: entries that lead to new blocks of counts                                          then a flush
 *   third:  L2 tables in their place, and L1 entries                                           then a flush
 * Whatever subset of a step's writes is lost, each entry that arrived leads to what an earlier flush has made durable, and
 * the counts cover it. What the third step lets go of is counted down by a later commit only (refcount.ts).
 */
export class Batch {
  readonly first: TableWrite[] = [];
  readonly second: TableWrite[] = [];
  readonly third: TableWrite[] = [];
  /** Tables that something in the file leads to once the second, or third, step has begun. */
  readonly linkedSecond: Table[] = [];
  readonly linkedThird: Table[] = [];
  /** Entries lead to clusters whose data may not be durable yet. */
  needsData = false;
  private readonly taken: Taken[] = [];

  add(taken: Taken): void {
    this.taken.push(taken);
  }

  done(): void {
    for (const each of this.taken.splice(0)) each.done();
  }

  restore(): void {
    for (const each of this.taken.splice(0).reverse()) each.restore();
  }
}

/** Makes the tables in memory durable. */
export class Writeback {
  private running: Promise<void> | undefined;
  private next: Promise<void> | undefined;

  constructor(
    private readonly file: ImageFile,
    private readonly collect: (batch: Batch) => void,
  ) {}

  /** Settles when everything that was written, or changed in tables, before the call is durable. Callers that wait share one commit. */
  commit(): Promise<void> {
    if (!this.running) return this.begin();
    // The failure of the one that is running is told to those who wait for it.
    const begin = (): Promise<void> => {
      this.next = undefined;
      return this.begin();
    };
    this.next ??= this.running.then(begin, begin);
    return this.next;
  }

  private begin(): Promise<void> {
    const run = this.run().finally(() => {
      if (this.running === run) this.running = undefined;
    });
    this.running = run;
    return run;
  }

  private async run(): Promise<void> {
    const batch = new Batch();
    this.collect(batch);
    try {
      await this.write(batch.first);
      if (batch.first.length > 0 && batch.second.length + batch.third.length > 0) await this.file.flush();
      else if (batch.needsData) await this.file.flush();
      for (const table of batch.linkedSecond) table.linked = true;
      await this.write(batch.second);
      if (batch.second.length > 0 && batch.third.length > 0) await this.file.flush();
      for (const table of batch.linkedThird) table.linked = true;
      await this.write(batch.third);
      await this.file.flush();
    } catch (failure) {
      batch.restore();
      throw failure;
    }
    batch.done();
  }

  private async write(writes: readonly TableWrite[]): Promise<void> {
    for (const { offset, data } of writes) await this.file.write(offset, data);
  }
}
