import { useCallback, useEffect, useMemo, useState } from "react";
import type { HostInfo } from "../../core/contract/model";
import type { FlowRecord, HostCard, LeaseInfo, NetworkInfo, NetworkRef } from "../../core/contract/network";
import type { ProcedureInput } from "../../core/contract/procedures";
import { call, CallError } from "./client";
import { useHost, useNetworks, useStore } from "./hooks";

const noModes: HostInfo["networkModes"] = [];

const maker = {
  create: (spec: ProcedureInput<"network.create">["spec"]): Promise<NetworkInfo> => call("network.create", { spec }),
  freeSubnet: async (): Promise<string> => (await call("network.freeSubnet", {})).subnet,
};

/** What an adapter can be attached to. The cards of the host are looked for once, when somebody asks. */
export function useNetworkSurroundings() {
  const modes = useHost()?.networkModes ?? noModes;
  const networks = useNetworks();
  const { machines } = useStore();
  const cards = useHostCards();
  return useMemo(() => ({ ...maker, modes, networks, cards, machineName: (id: string) => machines.get()?.get(id)?.name }), [modes, networks, cards, machines]);
}

/** The host's cards; undefined until they have come. */
function useHostCards(): readonly HostCard[] | undefined {
  const [cards, setCards] = useState<readonly HostCard[]>();
  useEffect(() => {
    let wanted = true;
    call("network.cards", {}).then(
      (found) => wanted && setCards(found),
      (error: unknown) => {
        console.debug("the host's cards could not be listed:", error);
        if (wanted) setCards([]);
      },
    );
    return () => {
      wanted = false;
    };
  }, []);
  return cards;
}

export interface Polled<T> {
  /** The last answer; undefined until there is one. */
  readonly value: T | undefined;
  readonly failure: { readonly message: string; readonly remedy?: string | undefined } | undefined;
  /** Asks now, and not only when it is time. */
  readonly again: () => void;
}

/**
 * Asks again and again while somebody looks: never twice at once, and not while the window is hidden. `read` has to stay
 * the same as long as the same is asked; undefined asks nothing.
 */
export function usePolled<T>(read: (() => Promise<T>) | undefined, everyMs: number): Polled<T> {
  const [state, setState] = useState<Pick<Polled<T>, "value" | "failure">>({ value: undefined, failure: undefined });
  const [round, setRound] = useState(0);
  useEffect(() => {
    setState({ value: undefined, failure: undefined });
  }, [read]);
  useEffect(() => {
    if (!read) return undefined;
    let wanted = true;
    let asking = false;
    const ask = async (): Promise<void> => {
      if (asking || document.hidden) return;
      asking = true;
      try {
        const value = await read();
        if (wanted) setState({ value, failure: undefined });
      } catch (error) {
        const remedy = error instanceof CallError ? error.remedy : undefined;
        if (wanted) setState({ value: undefined, failure: { message: error instanceof Error ? error.message : String(error), remedy } });
      }
      asking = false;
    };
    void ask();
    const timer = setInterval(() => void ask(), everyMs);
    return () => {
      wanted = false;
      clearInterval(timer);
    };
  }, [read, everyMs, round]);
  const again = useCallback(() => setRound((count) => count + 1), []);
  return { ...state, again };
}

/** Conversations change all the time, leases seldom. */
const flowsEveryMs = 1000;
const leasesEveryMs = 3000;

/** The conversations that pass a network's gateway, while somebody looks. */
export function useFlows(of: NetworkRef | undefined): Polled<readonly FlowRecord[]> {
  return usePolled<readonly FlowRecord[]>(useReader(of, readFlows), flowsEveryMs);
}

/** The addresses that a network has given out, while somebody looks. */
export function useLeases(of: NetworkRef | undefined): Polled<readonly LeaseInfo[]> {
  return usePolled<readonly LeaseInfo[]>(useReader(of, readLeases), leasesEveryMs);
}

const readFlows = (of: NetworkRef) => call("network.flows", { of });
const readLeases = (of: NetworkRef) => call("network.leases", { of });

/** One function for as long as the same network is meant. */
function useReader<T>(of: NetworkRef | undefined, read: (of: NetworkRef) => Promise<T>): (() => Promise<T>) | undefined {
  const key = of === undefined ? undefined : JSON.stringify(of);
  return useMemo(() => (key === undefined ? undefined : () => read(JSON.parse(key) as NetworkRef)), [key, read]);
}
