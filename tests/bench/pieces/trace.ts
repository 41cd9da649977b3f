/** One event of Chromium's trace (Trace Event Format); times are microseconds. */
interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur?: number;
  readonly tdur?: number;
  readonly args?: Readonly<Record<string, unknown>>;
}

export interface FrameWork {
  /** Time in tasks of the main thread from the beginning of one frame to that of the next, milliseconds. */
  readonly work: number[];
  /** The same without the time in which the thread did not run. */
  readonly processor: number[];
  readonly intervals: number[];
}

/** What a renderer's main thread did in each frame of a recorded trace. */
export function workPerFrame(trace: string, rendererPid: number): FrameWork {
  const { traceEvents } = JSON.parse(trace) as { traceEvents: TraceEvent[] };
  const own = traceEvents.filter((event) => event.pid === rendererPid);
  const main = own.find((event) => event.ph === "M" && event.name === "thread_name" && event.args?.["name"] === "CrRendererMain")?.tid;
  if (main === undefined) throw new Error("the trace does not name the renderer's main thread");
  const onMain = own.filter((event) => event.tid === main);
  const tasks = onMain.filter((event) => event.ph === "X" && (event.name === "RunTask" || event.name === "ThreadControllerImpl::RunTask"));
  const frames = onMain.filter((event) => event.name === "BeginMainThreadFrame").map((event) => event.ts).sort((a, b) => a - b);
  if (tasks.length === 0 || frames.length < 2) throw new Error(`the trace has ${tasks.length} tasks and ${frames.length} frames of the main thread`);
  const result: FrameWork = { work: [], processor: [], intervals: [] };
  const sorted = outermost(tasks);
  let next = 0;
  for (const [index, begin] of frames.slice(0, -1).entries()) {
    const end = frames[index + 1] ?? begin;
    let [work, processor] = [0, 0];
    // A task belongs to the frame in which it ends: the one that paints begins a little before its frame's mark.
    for (let task = sorted[next]; task !== undefined && task.ts + (task.dur ?? 0) <= end; task = sorted[++next]) {
      if (task.ts + (task.dur ?? 0) < begin) continue;
      work += task.dur ?? 0;
      processor += task.tdur ?? task.dur ?? 0;
    }
    result.work.push(work / 1000);
    result.processor.push(processor / 1000);
    result.intervals.push((end - begin) / 1000);
  }
  return result;
}

/** Tasks run inside other tasks count once. */
function outermost(tasks: readonly TraceEvent[]): TraceEvent[] {
  const kept: TraceEvent[] = [];
  let until = -Infinity;
  for (const task of [...tasks].sort((a, b) => a.ts - b.ts || (b.dur ?? 0) - (a.dur ?? 0))) {
    if (task.ts < until) continue;
    kept.push(task);
    until = task.ts + (task.dur ?? 0);
  }
  return kept;
}
