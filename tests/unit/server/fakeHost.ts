import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, type Duplex } from "node:stream";
import { onTestFinished } from "vitest";
import { Emitter } from "../../../core/base/emitter";
import { TerrariumError } from "../../../core/contract/errors";
import type { HostEvent, ProcedureName, ProcedureOutput, StreamRequest } from "../../../core/contract/procedures";
import type { ServedHost } from "../../../core/server/socket";

/** A private folder that is gone after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "terrarium-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A host service whose answers a test sets. */
export class FakeHost implements ServedHost {
  readonly runDir = temporaryFolder();
  readonly changes = new Emitter<HostEvent>();
  readonly onDidChange = this.changes.event;
  readonly calls: { name: string; input: unknown }[] = [];
  readonly streams: Duplex[] = [];
  answer: (name: ProcedureName, input: unknown) => unknown = (name) => {
    throw new TerrariumError("not-found", `no answer to ${name}`);
  };
  stream: (request: StreamRequest) => Duplex = () => new PassThrough();

  async call<N extends ProcedureName>(name: N, input: unknown): Promise<ProcedureOutput<N>> {
    this.calls.push({ name, input });
    return (await this.answer(name, input)) as ProcedureOutput<N>;
  }

  openStream(request: StreamRequest): Promise<Duplex> {
    const stream = this.stream(request);
    this.streams.push(stream);
    return Promise.resolve(stream);
  }
}

/** Resolves when `condition` holds; the test's own time limit is the limit. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

export function notice(message: string): HostEvent {
  return { type: "notice", notice: { id: "1", level: "info", message, at: 0 } };
}

export const someMachine = "01234567-89ab-4cde-8f01-23456789abcd";
