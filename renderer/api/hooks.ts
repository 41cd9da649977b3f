import { createContext, useContext, useSyncExternalStore } from "react";
import type { HostConnectionState, Preferences } from "../../core/contract/desktop";
import type { GuestSystem, HostInfo, JobInfo, MachineInfo, Notice, TrashEntry } from "../../core/contract/model";
import type { NetworkInfo } from "../../core/contract/network";
import type { HostStore } from "./store";

/** The window's one store, put here by `app/`. */
export const StoreContext = createContext<HostStore | undefined>(undefined);

export function useStore(): HostStore {
  const store = useContext(StoreContext);
  if (!store) throw new Error("there is no StoreContext above this component");
  return store;
}

export function useConnection(): HostConnectionState {
  const { connection } = useStore();
  return useSyncExternalStore(connection.subscribe, connection.get);
}

/** Machines by id, in the order of the host service; undefined until the list has arrived. */
export function useMachines(): ReadonlyMap<string, MachineInfo> | undefined {
  const { machines } = useStore();
  return useSyncExternalStore(machines.subscribe, machines.get);
}

/** How many machines there are; undefined until the list has arrived. Renders again only when one comes or goes. */
export function useMachineCount(): number | undefined {
  const { machines } = useStore();
  return useSyncExternalStore(machines.subscribe, () => machines.get()?.size);
}

/** One machine. Renders again only when this machine changes. */
export function useMachine(id: string | undefined): MachineInfo | undefined {
  const { machines } = useStore();
  return useSyncExternalStore(machines.subscribe, () => (id === undefined ? undefined : machines.get()?.get(id)));
}

/** Jobs, the newest first. */
export function useJobs(): readonly JobInfo[] {
  const { jobs } = useStore();
  return useSyncExternalStore(jobs.subscribe, jobs.get);
}

export function useHost(): HostInfo | undefined {
  const { host } = useStore();
  return useSyncExternalStore(host.subscribe, host.get);
}

/** The systems a guest may be; empty until they have come. */
export function useSystems(): readonly GuestSystem[] {
  const { systems } = useStore();
  return useSyncExternalStore(systems.subscribe, systems.get);
}

export function useTrash(): readonly TrashEntry[] {
  const { trash } = useStore();
  return useSyncExternalStore(trash.subscribe, trash.get);
}

/** The named networks. */
export function useNetworks(): readonly NetworkInfo[] {
  const { networks } = useStore();
  return useSyncExternalStore(networks.subscribe, networks.get);
}

export function useNotices(): readonly Notice[] {
  const { notices } = useStore();
  return useSyncExternalStore(notices.subscribe, notices.get);
}

export function usePreferences(): Preferences {
  const { preferences } = useStore();
  return useSyncExternalStore(preferences.subscribe, preferences.get);
}
