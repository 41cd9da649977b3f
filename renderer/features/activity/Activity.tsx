import { CheckCircle } from "@phosphor-icons/react/dist/csr/CheckCircle";
import { CircleNotch } from "@phosphor-icons/react/dist/csr/CircleNotch";
import { Info } from "@phosphor-icons/react/dist/csr/Info";
import { Prohibit } from "@phosphor-icons/react/dist/csr/Prohibit";
import { Warning } from "@phosphor-icons/react/dist/csr/Warning";
import { WarningOctagon } from "@phosphor-icons/react/dist/csr/WarningOctagon";
import { X } from "@phosphor-icons/react/dist/csr/X";
import type { JobInfo, Notice } from "../../../core/contract/model";
import { call } from "../../api/client";
import { useJobs, useNotices, useStore } from "../../api/hooks";
import { Button } from "../../ui/Button";
import { formatDuration, formatWhen } from "../../ui/format";
import { Nothing, Page } from "../../ui/Page";
import { Progress } from "../../ui/Progress";
import { attempt } from "../../ui/toasts";
import { useNow } from "../../ui/useNow";

/** What is being done, what was done, and what happened unasked. */
export default function Activity({ windowButtons, onMachine }: { windowButtons: React.ReactNode; onMachine(id: string): void }) {
  const jobs = useJobs();
  const notices = useNotices();
  const running = jobs.some((job) => job.state === "running");
  const now = useNow(running ? 1_000 : 30_000);
  return (
    <Page title="Activity" about="Work in progress, work that has ended, and what happened by itself." windowButtons={windowButtons}>
      {notices.length > 0 && (
        <>
          <h2 className="h3">Notices</h2>
          <ul className="list" style={{ marginBottom: 22 }}>
            {notices.map((notice) => (
              <NoticeRow key={notice.id} notice={notice} now={now} onMachine={onMachine} />
            ))}
          </ul>
        </>
      )}
      <h2 className="h3">Jobs</h2>
      {jobs.length === 0 ? (
        <Nothing>Nothing yet. Creating, starting and saving machines appears here with its progress, and can be cancelled.</Nothing>
      ) : (
        <ul className="list">
          {jobs.map((job) => (
            <JobRow key={job.id} job={job} now={now} onMachine={onMachine} />
          ))}
        </ul>
      )}
    </Page>
  );
}

const outcomes = {
  running: { icon: CircleNotch, colour: "var(--leaf)", word: "running" },
  done: { icon: CheckCircle, colour: "var(--run)", word: "done" },
  failed: { icon: WarningOctagon, colour: "var(--crash)", word: "failed" },
  cancelled: { icon: Prohibit, colour: "var(--ink-3)", word: "cancelled" },
} as const;

function JobRow({ job, now, onMachine }: { job: JobInfo; now: number; onMachine(id: string): void }) {
  const { icon: Drawing, colour, word } = outcomes[job.state];
  const lasted = formatDuration((job.endedAt ?? now) - job.startedAt);
  return (
    <li>
      <span className="status">
        <Drawing className={job.state === "running" ? "ic spin" : "ic"} color={colour} role="img" aria-label={word} />
      </span>
      <div className="grow">
        <div className="title trunc">{job.title}</div>
        <div className="s dim">
          {job.state === "running" ? (job.detail ?? "working") : job.state === "failed" ? job.error?.message : word}
          {job.error?.remedy !== undefined && <span className="faint"> {job.error.remedy}</span>}
        </div>
        {job.state === "running" && <Progress value={job.progress} label={job.title} />}
      </div>
      <span className="xs faint num">{job.state === "running" ? lasted : `${formatWhen(job.endedAt ?? job.startedAt, now)}, ${lasted}`}</span>
      {job.machineId !== undefined && job.state !== "running" && (
        <Button small look="quiet" onClick={() => onMachine(job.machineId!)}>Show</Button>
      )}
      {job.state === "running" && (
        <Button small refused={job.cancellable ? undefined : "This step cannot be cancelled any more."} onClick={() => void attempt(() => call("job.cancel", { id: job.id }), job.title)}>
          Cancel
        </Button>
      )}
    </li>
  );
}

const levels = {
  info: { icon: Info, colour: "var(--save)" },
  warning: { icon: Warning, colour: "var(--pause)" },
  error: { icon: WarningOctagon, colour: "var(--crash)" },
} as const;

function NoticeRow({ notice, now, onMachine }: { notice: Notice; now: number; onMachine(id: string): void }) {
  const store = useStore();
  const { icon: Drawing, colour } = levels[notice.level];
  return (
    <li>
      <span className="status">
        <Drawing className="ic" color={colour} role="img" aria-label={notice.level} />
      </span>
      <div className="grow selectable">
        <div>{notice.message}</div>
        {notice.remedy !== undefined && <div className="s dim">{notice.remedy}</div>}
      </div>
      <span className="xs faint num">{formatWhen(notice.at, now)}</span>
      {notice.machineId !== undefined && <Button small look="quiet" onClick={() => onMachine(notice.machineId!)}>Show</Button>}
      <Button small look="quiet" icon={X} aria-label="Dismiss this notice" onClick={() => store.dismissNotice(notice.id)} />
    </li>
  );
}
