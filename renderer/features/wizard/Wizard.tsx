import { Check } from "@phosphor-icons/react/dist/csr/Check";
import { useEffect, useMemo, useRef, useState } from "react";
import type { Finding, GuestSystem, JobInfo } from "../../../core/contract/model";
import { call, desktop } from "../../api/client";
import { useHost, useJobs, useMachines, useSystems } from "../../api/hooks";
import { Button } from "../../ui/Button";
import { Modal } from "../../ui/Modal";
import { confirm } from "../../ui/confirm";
import { attempt, toasts } from "../../ui/toasts";
import { formatBytes, formatMiB, plural } from "../../ui/format";
import { sourcePath, type Around } from "./answers";
import { DiskStep } from "./DiskStep";
import { isFilledIn, needsOf, newDraft, toSpec, withInspection, withSuggestions, type Draft, type Source } from "./draft";
import { Facts } from "./Facts";
import { useInspection } from "./inspection";
import { NetworkStep } from "./NetworkStep";
import { findingsOf, missing, stepNames, type StepName } from "./progress";
import { ReviewStep } from "./ReviewStep";
import { SourceStep } from "./SourceStep";
import type { StepProps } from "./step";
import { engineOf } from "./suggestions";
import { SystemStep } from "./SystemStep";
import { facts, networkWords } from "./words";
import "./wizard.css";

const titles: Readonly<Record<StepName, string>> = { source: "Source", system: "System", disk: "Disk", network: "Network", review: "Review" };

export interface WizardProps {
  readonly initialSource?: Source;
  /** Called with the new machine's id, or without one when the person left. */
  onClose(created?: string): void;
}

/** Makes a machine in five steps. */
export function Wizard({ initialSource = "starter", onClose }: WizardProps) {
  const host = useHost();
  const known = useMachines();
  const systems = useSystems();
  const around = useMemo<Around>(() => ({ machines: known === undefined ? [] : [...known.values()], systems, host }), [known, systems, host]);
  const [draft, setDraft] = useState<Draft>(() => newDraft(initialSource, around));
  const change = (next: Draft): void => setDraft(withSuggestions(next, around));
  const inspection = useInspection(sourcePath(draft));
  const [step, setStep] = useState<StepName>("source");
  const [seen, setSeen] = useState<ReadonlySet<StepName>>(new Set(["source"]));
  const [startNow, setStartNow] = useState(true);
  const [creating, setCreating] = useState<string>();
  const { findings, checked } = useFindings(draft, systems);
  const frame = useRef<HTMLDivElement>(null);
  const body = useRef<HTMLElement>(null);
  const engines = host?.engines;

  useEffect(() => {
    // What is being made keeps the name it is made with, although that name is taken from then on.
    if (creating !== undefined) return;
    setDraft((before) => withSuggestions(inspection === undefined ? before : withInspection(before, inspection), around));
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the rest of what is around is asked at the next answer
  }, [inspection, systems, engines]);

  const at = stepNames.indexOf(step);
  const stepFindings = findingsOf(step, findings, draft);
  const starterMissing = draft.source === "starter" && host !== undefined && !host.starter.ready;
  const blocking =
    missing(step, draft) ??
    (starterMissing ? "Terrarium Linux is not ready on this computer." : undefined) ??
    stepFindings.find((finding) => finding.level === "error")?.message ??
    (step === "review" && !checked ? "Terrarium is looking whether this computer can run it." : undefined);

  // Whoever works with the keyboard goes on in the step, not at the window's edge.
  useEffect(() => {
    const first = body.current?.querySelector<HTMLElement>("input:checked, input:not([disabled]), select, textarea, button");
    if (!body.current?.contains(document.activeElement)) first?.focus({ preventScroll: true });
  }, [step]);

  const go = (to: StepName): void => {
    setStep(to);
    setSeen((before) => new Set([...before, to]));
    // In a small window the whole wizard scrolls, in a large one the step alone.
    frame.current?.scrollTo({ top: 0 });
    body.current?.scrollTo({ top: 0 });
  };
  const next = (): void => {
    const following = stepNames[at + 1];
    if (following !== undefined) go(following);
    else void create();
  };

  const leave = async (): Promise<void> => {
    const yes =
      !isFilledIn(draft) ||
      (await confirm({
        title: "Leave without a machine?",
        body: "No machine has been made yet. What you have filled in is lost.",
        action: "Leave",
        danger: true,
      }));
    if (yes) onClose();
  };

  const create = async (): Promise<void> => {
    await attempt(async () => {
      const { id, job } = await call("machine.create", { spec: toSpec(draft, systems) });
      setCreating(job.id);
      const ended = await call("job.wait", { id: job.id });
      setCreating(undefined);
      if (ended.state === "done") {
        if (startNow) await startAndShow(id, draft.name.trim());
        onClose(id);
      } else if (ended.state === "failed") {
        toasts.show({ level: "error", about: ended.title, message: ended.error?.message ?? "The machine could not be made.", remedy: ended.error?.remedy });
      }
    }, draft.name.trim());
    setCreating(undefined);
  };

  const engine = engines && engineOf(needsOf(draft, systems), engines);
  const props: StepProps = { draft, change, findings: stepFindings, host, systems, engine };
  return (
    <div
      ref={frame}
      className="wizard"
      onKeyDown={(event) => {
        if (event.defaultPrevented || creating !== undefined) return;
        if (event.key === "Escape") void leave();
        if (event.key === "Enter" && event.target instanceof HTMLInputElement && blocking === undefined) next();
      }}
    >
      <nav className="rail" aria-label="Steps">
        {stepNames.map((name, index) => {
          const wrong = name !== step && seen.has(name) && findingsOf(name, findings, draft).some((finding) => finding.level === "error") && name !== "review";
          const kind = wrong ? "wrong" : name === step ? "now" : index < at ? "done" : "todo";
          return (
            <button key={name} type="button" className={`step ${kind}`} aria-current={name === step ? "step" : undefined} disabled={!seen.has(name)} onClick={() => go(name)}>
              <span className="ball">{kind === "done" ? <Check className="ic xs" aria-hidden /> : wrong ? "!" : index + 1}</span>
              <span style={{ minWidth: 0 }}>
                <b>{titles[name]}</b>
                <span className="xs faint trunc note" style={{ display: "block" }}>
                  {seen.has(name) ? stepNote(name, draft) : ""}
                </span>
              </span>
            </button>
          );
        })}
        <span className="grow" />
        <div className="s dim advice">Nothing is made before the last step. Esc leaves.</div>
      </nav>
      <section className="body" ref={body} aria-label={titles[step]}>
        {step === "source" && <SourceStep {...props} />}
        {step === "system" && <SystemStep {...props} />}
        {step === "disk" && <DiskStep {...props} />}
        {step === "network" && <NetworkStep {...props} />}
        {step === "review" && <ReviewStep {...props} startNow={startNow} setStartNow={setStartNow} />}
      </section>
      <aside className="aside" aria-label="Your machine">
        <h3>Your machine</h3>
        <div className="tank">
          <span className="mono faint" style={{ color: "#86958c" }}>
            {draft.name || "…"}
          </span>
        </div>
        <h2 className="trunc">{draft.name.trim() || "Without a name"}</h2>
        <Facts list={facts(draft, systems, engine)} />
        <span className="grow" />
        <div className="actions">
          <Button onClick={() => (at === 0 ? void leave() : go(stepNames[at - 1] ?? "source"))}>{at === 0 ? "Cancel" : "Back"}</Button>
          <Button look="primary" refused={blocking} onClick={next}>
            {step !== "review" ? `Continue to ${titles[stepNames[at + 1] ?? "review"].toLowerCase()}` : startNow ? "Create and start" : "Create"}
          </Button>
        </div>
      </aside>
      {creating !== undefined && <Creating jobId={creating} name={draft.name} />}
    </div>
  );
}

/** Starts the new machine and opens its console; the console shows how the start goes on, and why it failed. */
async function startAndShow(id: string, name: string): Promise<void> {
  await attempt(async () => {
    await call("machine.start", { id });
    await desktop.openConsole(id);
  }, name);
}

function stepNote(step: StepName, draft: Draft): string {
  switch (step) {
    case "source":
      return draft.source === "starter" ? "Terrarium Linux" : (sourcePath(draft).split(/[\\/]/).pop() ?? "");
    case "system":
      return `${plural(draft.cpus, "processor")}, ${formatMiB(draft.memoryMiB)}`;
    case "disk":
      return draft.source === "disk" ? (draft.imageMode === "link" ? "the image itself" : "a copy of the image") : draft.diskBytes === null ? "none" : `${formatBytes(draft.diskBytes)}, grows as needed`;
    case "network":
      return networkWords(draft.attachment);
    case "review":
      return "";
  }
}

/** What the host says about the draft, asked again shortly after it changed; `checked` says whether that is about the draft as it is. */
function useFindings(draft: Draft, systems: readonly GuestSystem[]): { readonly findings: readonly Finding[]; readonly checked: boolean } {
  const complete = missing("source", draft) === undefined && draft.name.trim() !== "";
  // A login that is not complete yet must not keep warnings about everything else away.
  const spec = useMemo(() => toSpec(missing("system", draft) === undefined ? draft : { ...draft, login: "own" }, systems), [draft, systems]);
  const [answer, setAnswer] = useState<{ readonly spec: unknown; readonly findings: readonly Finding[] }>({ spec: undefined, findings: [] });
  useEffect(() => {
    let current = true;
    const answered = (findings: readonly Finding[]): void => {
      if (current) setAnswer({ spec, findings });
    };
    const timer = setTimeout(() => {
      if (!complete) answered([]);
      else
        call("machine.check", { spec }).then(answered, (error: unknown) => answered([{ field: "name", level: "error", message: error instanceof Error ? error.message : String(error) }]));
    }, 200);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [spec, complete]);
  return { findings: answer.findings, checked: answer.spec === spec };
}

function Creating({ jobId, name }: { jobId: string; name: string }) {
  const job: JobInfo | undefined = useJobs().find((candidate) => candidate.id === jobId);
  const cancel = (): void => void attempt(() => call("job.cancel", { id: jobId }), name.trim());
  return (
    <Modal
      title={`Creating ${name.trim()}`}
      onClose={cancel}
      actions={<Button onClick={cancel}>Cancel</Button>}
    >
      <div className="dim" role="status" style={{ marginBottom: 12 }}>
        {job?.detail ?? "Making the machine’s folder."}
      </div>
      <div className={job?.progress === undefined ? "progress unknown" : "progress"} role="progressbar" aria-label="Progress" aria-valuenow={job?.progress === undefined ? undefined : Math.round(job.progress * 100)}>
        <i style={job?.progress === undefined ? undefined : { width: `${job.progress * 100}%` }} />
      </div>
    </Modal>
  );
}
