import { CheckCircle } from "@phosphor-icons/react/dist/csr/CheckCircle";
import { Info } from "@phosphor-icons/react/dist/csr/Info";
import { Warning } from "@phosphor-icons/react/dist/csr/Warning";
import { WarningOctagon } from "@phosphor-icons/react/dist/csr/WarningOctagon";
import { X } from "@phosphor-icons/react/dist/csr/X";
import { useEffect, useLayoutEffect, useRef, useState, useSyncExternalStore } from "react";
import { useJobs, useNotices, useStore } from "../api/hooks";
import { Button } from "../ui/Button";
import { toasts, type Toast } from "../ui/toasts";

const drawings = {
  info: { icon: Info, colour: "var(--save)" },
  success: { icon: CheckCircle, colour: "var(--run)" },
  warning: { icon: Warning, colour: "var(--pause)" },
  error: { icon: WarningOctagon, colour: "var(--crash)" },
} as const;

/** What of the shelf's height needs no room beside it: its edge, but for a gap. Pixels. */
const shelfEdge = 20;

/** Short messages at the lower left. How much room they take is known to the styles, as `--toast-room`. */
export function ToastShelf() {
  const shown = useSyncExternalStore(toasts.subscribe, toasts.get);
  const shelf = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const element = shelf.current;
    if (!element) return undefined;
    const { style } = document.documentElement;
    const measure = (): void => style.setProperty("--toast-room", `${Math.max(0, element.offsetHeight - shelfEdge)}px`);
    const resizing = new ResizeObserver(measure);
    resizing.observe(element);
    return () => {
      resizing.disconnect();
      style.removeProperty("--toast-room");
    };
  }, []);
  return (
    <div ref={shelf} className="toasts" role="region" aria-label="Messages">
      {shown.map((toast) => (
        <ToastCard key={toast.id} toast={toast} />
      ))}
    </div>
  );
}

function ToastCard({ toast }: { toast: Toast }) {
  const [held, setHeld] = useState(false);
  useEffect(() => {
    // Whoever moves over it or reaches for its button has time; a pointer that only lay there is no reader.
    if (held) return undefined;
    const timer = setTimeout(() => toasts.close(toast.id), toast.lifetime);
    return () => clearTimeout(timer);
  }, [toast, held]);
  const { icon: Drawing, colour } = drawings[toast.level];
  return (
    <div className="toast" role={toast.level === "error" ? "alert" : "status"} onMouseMove={() => setHeld(true)} onMouseLeave={() => setHeld(false)} onFocus={() => setHeld(true)} onBlur={() => setHeld(false)}>
      <Drawing className="ic" color={colour} aria-hidden />
      <div className="grow selectable">
        {toast.about !== undefined && <div className="about trunc" title={toast.about}>{toast.about}</div>}
        <div className="message">{toast.message}</div>
        {toast.remedy !== undefined && <div className="s dim" style={{ marginTop: 2 }}>{toast.remedy}</div>}
      </div>
      {toast.action && (
        <Button
          small
          onClick={() => {
            toasts.close(toast.id);
            toast.action?.run();
          }}
        >
          {toast.action.label}
        </Button>
      )}
      <Button small look="quiet" icon={X} aria-label="Dismiss" onClick={() => toasts.close(toast.id)} />
    </div>
  );
}

/** Tells of jobs that failed and of notices, wherever the person happens to be. */
export function Announcer() {
  const jobs = useJobs();
  const notices = useNotices();
  const { machines } = useStore();
  const seen = useRef<Set<string> | undefined>(undefined);
  useEffect(() => {
    const failed = jobs.filter((job) => job.state === "failed");
    // What had failed before this window was opened is history: it stands in Activity.
    const first = seen.current === undefined;
    const known = (seen.current ??= new Set());
    for (const job of failed) {
      if (known.has(job.id)) continue;
      known.add(job.id);
      if (!first && job.error) toasts.show({ level: "error", about: job.title, message: job.error.message, remedy: job.error.remedy });
    }
    for (const notice of notices) {
      if (known.has(notice.id)) continue;
      known.add(notice.id);
      if (!first) toasts.show({ level: notice.level, about: notice.machineId && machines.get()?.get(notice.machineId)?.name, message: notice.message, remedy: notice.remedy });
    }
  }, [jobs, notices, machines]);
  return null;
}
