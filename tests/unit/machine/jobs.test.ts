import { describe, expect, it } from "vitest";
import { ManualClock } from "../../../core/base/clock";
import { TerrariumError } from "../../../core/contract/errors";
import type { JobInfo } from "../../../core/contract/model";
import { Jobs, type JobControl } from "../../../core/machine/jobs";

const machineId = "11111111-1111-4111-8111-111111111111";
const spec = { kind: "start", title: "Start web", machineId, cancellable: true } as const;

/** Work that goes on until it is told how to end. */
function openWork(): { work: (job: JobControl) => Promise<void>; job: Promise<JobControl>; finish: () => void; fail: (error: unknown) => void } {
  let started = (_: JobControl): void => undefined;
  let finish = (): void => undefined;
  let fail = (_: unknown): void => undefined;
  const job = new Promise<JobControl>((resolve) => (started = resolve));
  const end = new Promise<void>((resolve, reject) => {
    finish = resolve;
    fail = reject;
  });
  return {
    job,
    finish: () => finish(),
    fail: (error) => fail(error),
    work: (control) => {
      started(control);
      return end;
    },
  };
}

describe("Jobs", () => {
  it("is running until its work is done, and announces each change", async () => {
    const clock = new ManualClock(1000);
    const jobs = new Jobs(clock);
    const seen: JobInfo[] = [];
    jobs.onDidChange((job) => seen.push(job));
    const open = openWork();
    const { id, state } = jobs.run(spec, open.work);
    expect(state).toBe("running");
    (await open.job).progress(0.5, "Restoring");
    clock.advance(20);
    open.finish();
    expect(await jobs.wait(id)).toMatchObject({ state: "done", progress: 1, startedAt: 1000, endedAt: 1020 });
    expect(seen.map((job) => [job.state, job.progress, job.detail])).toEqual([["running", undefined, undefined], ["running", 0.5, "Restoring"], ["done", 1, undefined]]);
  });

  it("refuses a second job on the same machine until the first has ended", async () => {
    const jobs = new Jobs(new ManualClock());
    const open = openWork();
    const first = jobs.run(spec, open.work);
    expect(jobs.holder(machineId)?.id).toBe(first.id);
    expect(() => jobs.run({ ...spec, title: "Save web" }, () => Promise.resolve())).toThrow(expect.objectContaining({ code: "busy", message: expect.stringContaining("Start web") as string }));
    const other = jobs.run({ ...spec, machineId: undefined }, () => Promise.resolve());
    expect((await jobs.wait(other.id)).state).toBe("done");
    open.finish();
    await jobs.wait(first.id);
    expect(jobs.holder(machineId)).toBeUndefined();
    const second = jobs.run(spec, () => Promise.resolve());
    expect((await jobs.wait(second.id)).state).toBe("done");
  });

  it("is not cancelled before its work has cleaned up", async () => {
    const jobs = new Jobs(new ManualClock());
    const open = openWork();
    const { id } = jobs.run(spec, open.work);
    const control = await open.job;
    const cancelling = jobs.cancel(id);
    expect(control.signal.aborted).toBe(true);
    expect(jobs.get(id)).toMatchObject({ state: "running", detail: "Cancelling" });
    expect(jobs.holder(machineId)?.id).toBe(id);
    open.fail(control.signal.reason);
    expect(await cancelling).toMatchObject({ state: "cancelled" });
    expect(jobs.get(id).error).toBeUndefined();
  });

  it("has failed, not been cancelled, when cleaning up fails", async () => {
    const jobs = new Jobs(new ManualClock());
    const open = openWork();
    const { id } = jobs.run(spec, open.work);
    await open.job;
    const cancelling = jobs.cancel(id);
    open.fail(new TerrariumError("io", "The half-made disk could not be removed.", "Remove it."));
    expect(await cancelling).toMatchObject({ state: "failed", error: { code: "io", remedy: "Remove it." } });
  });

  it("is done when its work was faster than the cancelling", async () => {
    const jobs = new Jobs(new ManualClock());
    const open = openWork();
    const { id } = jobs.run(spec, open.work);
    await open.job;
    const cancelling = jobs.cancel(id);
    open.finish();
    expect((await cancelling).state).toBe("done");
    expect((await jobs.cancel(id)).state).toBe("done");
  });

  it("says why it failed, also when the work throws at once", async () => {
    const jobs = new Jobs(new ManualClock());
    const failing = jobs.run(spec, () => {
      throw new TerrariumError("engine-failed", "It did not start.");
    });
    expect(await jobs.wait(failing.id)).toMatchObject({ state: "failed", error: { code: "engine-failed", message: "It did not start." } });
    const bug = jobs.run(spec, () => Promise.reject(new TypeError("oops")));
    expect(await jobs.wait(bug.id)).toMatchObject({ state: "failed", error: { code: "internal" } });
  });

  it("refuses to cancel what cannot be cancelled, and unknown jobs", async () => {
    const jobs = new Jobs(new ManualClock());
    const open = openWork();
    const { id } = jobs.run({ ...spec, cancellable: false }, open.work);
    await expect(jobs.cancel(id)).rejects.toMatchObject({ code: "illegal-state" });
    expect((await open.job).signal.aborted).toBe(false);
    await expect(jobs.cancel("nope")).rejects.toMatchObject({ code: "not-found" });
    open.finish();
    await jobs.wait(id);
  });

  it("does not announce progress that nobody could see", async () => {
    const jobs = new Jobs(new ManualClock());
    const open = openWork();
    const { id } = jobs.run(spec, open.work);
    const control = await open.job;
    let events = 0;
    jobs.onDidChange(() => events++);
    for (let i = 0; i < 10_000; i++) control.progress(i / 10_000, "Copying");
    expect(events).toBeLessThanOrEqual(101);
    open.finish();
    await jobs.wait(id);
  });

  it("forgets ended jobs after an hour, and all but the last fifty", async () => {
    const clock = new ManualClock();
    const jobs = new Jobs(clock);
    const open = openWork();
    const running = jobs.run(spec, open.work);
    for (let i = 0; i < 60; i++) await jobs.wait(jobs.run({ ...spec, machineId: undefined, title: `Job ${i}` }, () => Promise.resolve()).id);
    expect(jobs.list()).toHaveLength(51);
    expect(jobs.list()[0]?.title).toBe("Job 59");
    clock.advance(60 * 60 * 1000 + 1);
    expect(jobs.list().map((job) => job.id)).toEqual([running.id]);
    open.finish();
    await jobs.wait(running.id);
  });

  it("has no work left when it has settled", async () => {
    const jobs = new Jobs(new ManualClock());
    const stubborn = openWork();
    const willing = openWork();
    const a = jobs.run({ ...spec, cancellable: false }, stubborn.work);
    const b = jobs.run({ ...spec, machineId: undefined }, willing.work);
    const [, control] = await Promise.all([stubborn.job, willing.job]);
    const settling = jobs.settle();
    willing.fail(control.signal.reason);
    stubborn.finish();
    await settling;
    expect([jobs.get(a.id).state, jobs.get(b.id).state]).toEqual(["done", "cancelled"]);
  });
});
