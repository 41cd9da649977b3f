import { Copy } from "@phosphor-icons/react/dist/csr/Copy";
import { useEffect, useState } from "react";
import type { MachineInfo } from "../../../core/contract/model";
import { shellWords } from "../../../core/contract/shellWords";
import { isLive } from "../../../core/contract/states";
import { call, CallError, desktop } from "../../api/client";
import { Button } from "../../ui/Button";
import { Problem } from "../../ui/Problem";
import { attempt, toasts } from "../../ui/toasts";
import { commandLines } from "./commandText";

type Found = { readonly live: boolean; readonly command: readonly string[] } | { readonly message: string; readonly remedy: string | undefined };

/** The exact command line of the machine process; read again when the machine comes, goes or is changed. */
export function CommandLine({ machine }: { machine: MachineInfo }) {
  const { id } = machine;
  // Every word about a machine brings its configuration anew; only another one is worth asking again.
  const config = JSON.stringify(machine.config);
  const [found, setFound] = useState<Found | undefined>();
  const live = isLive(machine.state);
  useEffect(() => {
    let current = true;
    call("machine.commandLine", { id }).then(
      (answer) => current && setFound(answer),
      (error: unknown) => current && setFound({ message: error instanceof Error ? error.message : String(error), remedy: error instanceof CallError ? error.remedy : undefined }),
    );
    return () => {
      current = false;
    };
  }, [id, config, live]);

  if (!found) return <div className="log" aria-busy="true" />;
  if ("message" in found) return <Problem message={found.message} remedy={found.remedy} />;
  const copy = (): Promise<void | undefined> =>
    attempt(async () => {
      await desktop.copyText(shellWords(found.command));
      toasts.show({ level: "info", message: `Copied the command line of ${machine.name}.` });
    }, machine.name);
  return (
    <>
      <div className="row" style={{ gap: 12 }}>
        <p className="s grow" role="status">
          {found.live ? <><b>Running.</b> The machine process was started with this.</> : <><b>Not running.</b> What a start would run now.</>}
        </p>
        <Button small icon={Copy} onClick={() => void copy()}>
          Copy the command line
        </Button>
      </div>
      <div className="log command mono selectable" tabIndex={0} role="region" aria-label={`Command line of ${machine.name}`}>
        {commandLines(found.command).map((line, index) => (
          <div key={index}>{line}</div>
        ))}
      </div>
    </>
  );
}
