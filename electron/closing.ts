import { dialog, type BrowserWindow } from "electron";
import { randomUUID } from "node:crypto";
import type { Log } from "../core/base/log";
import type { CloseAnswer } from "../core/contract/desktop";
import { TerrariumError, toErrorData, type ErrorData } from "../core/contract/errors";
import type { MachineInfo } from "../core/contract/model";
import { facts } from "./channels";
import type { HostLink } from "./host";
import type { PreferenceStore } from "./preferences";
import type { Windows } from "./windows";

/*
 * Closing the app. With no machine running it just closes. Otherwise the person is asked (or was, once and for all):
 *   keep      a headless host service takes the home over and the machines go on
 *   save      every machine is saved; the app closes when all are
 *   shutdown  every guest is asked to shut down; the app closes when all are off
 *   cancel    nothing happens
 * A machine that cannot be saved or shut down keeps the app open, with the reason shown: nothing is lost unseen. Whoever
 * closes the window a second time while it waits for machines is asked again.
 */

export interface ClosingSteps {
  /** Starts the headless host service that goes on without the app. */
  startHeadless(): Promise<void>;
  /** Ends the app, past this point without questions. */
  quit(): void;
}

export class Closing {
  private stage: "open" | "looking" | "asking" | "working" | "closed" = "open";
  /** The question stands in a box of the system's. */
  private askingPlainly = false;
  private running: MachineInfo[] = [];
  /** The jobs that are waited for. */
  private readonly jobs = new Set<string>();
  private changedMind = false;
  private readonly answering = new WeakSet<BrowserWindow>();

  constructor(
    private readonly host: HostLink,
    private readonly windows: Windows,
    private readonly preferences: PreferenceStore,
    private readonly steps: ClosingSteps,
    private readonly log: Log,
  ) {}

  /** Holds a window's closing or the app's end until it is settled what becomes of the machines. */
  intercept(event: { preventDefault(): void }): void {
    if (this.stage === "closed") return;
    event.preventDefault();
    this.request();
  }

  /** A page says whether it shows the question itself. */
  pageAnswers(window: BrowserWindow, answers: boolean): void {
    if (answers) this.answering.add(window);
    else this.answering.delete(window);
  }

  /** The person wants to close. Returns at once; what follows is asked and shown. */
  private request(): void {
    if (this.stage === "asking") this.ask();
    if (this.stage === "working") this.thinkAgain();
    if (this.stage !== "open") return;
    this.stage = "looking";
    void this.begin().catch((error: unknown) => this.fail([toErrorData(error)]));
  }

  /** The computer or the session ends: nobody can be asked, so machines go on. */
  keepAndQuit(): void {
    if (this.stage === "working" || this.stage === "closed") return;
    this.log.info("The session ends; machines that run go on.");
    this.stage = "working";
    const leave = async (): Promise<void> => ((await this.host.liveMachines()).length > 0 ? await this.carryOut("keep") : await this.finish());
    void leave().catch((error: unknown) => this.fail([toErrorData(error)]));
  }

  answer(answer: CloseAnswer, remember: boolean): void {
    if (this.stage !== "asking") return;
    this.changedMind = false;
    if (answer === "cancel") {
      this.stage = "open";
      return;
    }
    if (remember) this.preferences.set({ onClose: answer });
    this.stage = "working";
    void this.carryOut(answer).catch((error: unknown) => this.fail([toErrorData(error)]));
  }

  /** Gives up what is waited for; the question comes again. */
  private thinkAgain(): void {
    if (this.changedMind || this.jobs.size === 0) return;
    this.changedMind = true;
    for (const id of this.jobs) {
      // A job that has just ended cannot be cancelled: then there is nothing to wait for either.
      this.host.ask("job.cancel", { id }).catch((error: unknown) => this.log.info(`the job ${id} was not cancelled: ${toErrorData(error).message}`));
    }
  }

  private async begin(): Promise<void> {
    this.running = await this.host.liveMachines();
    // The session may have ended meanwhile.
    if (this.stage !== "looking") return;
    this.stage = "asking";
    if (this.running.length === 0) return await this.finish();
    const always = this.preferences.preferences.onClose;
    if (always === "ask" || this.changedMind) this.ask();
    else this.answer(always, false);
  }

  private ask(): void {
    const window = this.windows.mainWindow;
    if (window && this.answering.has(window) && !window.webContents.isCrashed()) {
      window.webContents.send(facts.closeRequested, this.running.map(({ id, name }) => ({ id, name })));
      window.show();
      return;
    }
    if (this.askingPlainly) return;
    this.askingPlainly = true;
    void this.askPlainly(window)
      .catch((error: unknown) => this.fail([toErrorData(error)]))
      .finally(() => (this.askingPlainly = false));
  }

  /** The same question without a page, when it is not there to ask it. */
  private async askPlainly(window: BrowserWindow | undefined): Promise<void> {
    const names = this.running.map(({ name }) => name).join(", ");
    const answers = ["keep", "save", "shutdown", "cancel"] as const;
    const options = { type: "question" as const, message: "Machines are running", detail: `${names}\n\nKept machines go on in the background.`, buttons: ["Keep running", "Save", "Shut down", "Cancel"], defaultId: 0, cancelId: 3 };
    const { response } = await (window ? dialog.showMessageBox(window, options) : dialog.showMessageBox(options));
    this.answer(answers[response] ?? "cancel", false);
  }

  private async carryOut(answer: Exclude<CloseAnswer, "cancel">): Promise<void> {
    if (answer === "keep") {
      const hand = this.host.isOwn;
      await this.host.close();
      if (hand) await this.handOver();
      return this.quit();
    }
    // Asked anew: machines may have come and gone while the question stood.
    const failures = await stopAll(this.host, await this.host.liveMachines(), answer, this.jobs);
    if (this.changedMind) {
      this.stage = "looking";
      return this.begin();
    }
    if (failures.length > 0) return this.fail(failures);
    await this.finish();
  }

  private async handOver(): Promise<void> {
    try {
      await this.steps.startHeadless();
    } catch (error) {
      // Somebody else took the home in between: then the machines are looked after.
      if (error instanceof TerrariumError && error.code === "locked") return;
      this.host.reopen();
      throw error;
    }
  }

  private async finish(): Promise<void> {
    await this.host.close();
    this.quit();
  }

  private quit(): void {
    this.stage = "closed";
    this.steps.quit();
  }

  private fail(errors: ErrorData[]): void {
    this.stage = "open";
    this.changedMind = false;
    for (const error of errors) {
      this.log.warn(`The app stays open: ${error.message}`);
      this.host.announce({ type: "notice", notice: { id: randomUUID(), level: "error", message: error.message, ...(error.remedy === undefined ? {} : { remedy: error.remedy }), at: Date.now() } });
    }
    this.windows.mainWindow?.show();
  }
}

/** Saves or shuts down all of them at once and waits for the jobs' ends; `jobs` holds those that have not ended. */
async function stopAll(host: HostLink, machines: readonly MachineInfo[], how: "save" | "shutdown", jobs: Set<string>): Promise<ErrorData[]> {
  const outcomes = await Promise.all(
    machines.map(async ({ id, name }): Promise<ErrorData | undefined> => {
      try {
        const { job } = await host.ask(how === "save" ? "machine.save" : "machine.shutdown", { id });
        jobs.add(job.id);
        const ended = await host.ask("job.wait", { id: job.id }).finally(() => jobs.delete(job.id));
        if (ended.state === "done") return undefined;
        if (ended.state === "cancelled") return { code: "cancelled", message: `${ended.title} was cancelled.` };
        return ended.error ?? { code: "internal", message: `${ended.title} failed.` };
      } catch (error) {
        const data = toErrorData(error);
        return { ...data, message: `${name}: ${data.message}` };
      }
    }),
  );
  return outcomes.filter((outcome) => outcome !== undefined);
}
