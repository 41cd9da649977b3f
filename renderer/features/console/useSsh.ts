import type { RawChannel } from "@novnc/novnc";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { MachineInfo } from "../../../core/contract/model";
import { guestUser, sshRoute } from "../../../core/contract/sshRoute";
import { isLive } from "../../../core/contract/states";
import { openTerminal, type Terminal } from "../../api/stream";

interface SshProblem {
  readonly message: string;
  readonly remedy?: string | undefined;
}

/** A login to the guest by ssh, as the terminal pane shows it. */
export interface Ssh {
  /** `ended`: there was one; its words are still to be read. */
  readonly state: "idle" | "connecting" | "connected" | "ended";
  readonly channel: RawChannel | undefined;
  /** Who logs in; undefined where only the person knows. */
  readonly user: string | undefined;
  readonly problem: SshProblem | undefined;
  /** Why nobody can be connected now. */
  readonly refused: SshProblem | undefined;
  /** For the head of the pane. */
  readonly note: string | undefined;
  connect(user: string): void;
  resize(columns: number, rows: number): void;
}

const notes: Readonly<Record<Ssh["state"], string | undefined>> = { idle: undefined, connecting: "Connecting…", connected: undefined, ended: "The connection has ended." };

/**
 * Connects by itself, once, when the terminal is wanted, who logs in is known, and the guest can be expected to answer.
 * It ends with the window, and with the machine.
 */
export function useSsh(machine: MachineInfo | undefined, wanted: boolean): Ssh {
  const [state, setState] = useState<Ssh["state"]>("idle");
  const [terminal, setTerminal] = useState<Terminal>();
  const [problem, setProblem] = useState<Ssh["problem"]>();
  const size = useRef({ columns: 80, rows: 24 });
  const begun = useRef(false);
  const current = useRef<Terminal>(undefined);
  const gone = useRef(false);

  const route = useMemo(() => machine && sshRoute(machine), [machine]);
  const refused = route && "refused" in route ? { message: route.refused, remedy: route.remedy } : undefined;
  const user = guestUser(machine?.config);
  const id = machine?.id;
  // The agent of a starter guest answers before its SSH server does; of other guests nothing is known.
  const early = machine?.config?.boot.kind === "starter" && machine.state === "running" && machine.guest.agent === "waiting";
  const over = machine === undefined || !isLive(machine.state);

  const connect = useCallback(
    (as: string): void => {
      if (id === undefined) return;
      setState("connecting");
      setProblem(undefined);
      current.current?.channel.close();
      openTerminal({ id, user: as, ...size.current }).then(
        (opened) => {
          if (gone.current) return opened.channel.close();
          current.current = opened;
          opened.channel.onclose = () => {
            if (current.current !== opened) return;
            const { error } = opened.channel;
            if (error) setProblem(error);
            setState("ended");
          };
          // It may have got another size meanwhile.
          opened.resize(size.current.columns, size.current.rows);
          setTerminal(opened);
          setState("connected");
        },
        (error: unknown) => {
          const remedy = error instanceof Error && "remedy" in error && typeof error.remedy === "string" ? error.remedy : undefined;
          setProblem({ message: error instanceof Error ? error.message : String(error), remedy });
          setState("idle");
        },
      );
    },
    [id],
  );

  useEffect(() => {
    if (!wanted || begun.current || route === undefined || "refused" in route || early) return;
    begun.current = true;
    if (route.user !== undefined) connect(route.user);
  }, [wanted, route, early, connect]);

  useEffect(() => {
    // Without this ssh would wait for a guest that is no more.
    if (over) current.current?.channel.close();
  }, [over]);

  useEffect(() => {
    gone.current = false;
    return () => {
      gone.current = true;
      current.current?.channel.close();
    };
  }, []);

  const resize = useCallback((columns: number, rows: number): void => {
    size.current = { columns, rows };
    current.current?.resize(columns, rows);
  }, []);

  return { state, channel: state === "connected" || state === "ended" ? terminal?.channel : undefined, user, problem, refused, note: state === "idle" && early && wanted ? "Connects when the guest is up." : notes[state], connect, resize };
}
