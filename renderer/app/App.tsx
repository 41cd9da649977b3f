import { lazy, Suspense, useCallback, useDeferredValue, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { useConnection, useMachine, useMachines, usePreferences, useStore } from "../api/hooks";
import { MachinePage, type MachineTab } from "../features/machines/MachinePage";
import { RenameHost } from "../features/machines/rename";
import { Welcome } from "../features/machines/Welcome";
import { neighbourOf } from "../features/machines/windowing";
import { Boundary } from "../ui/Boundary";
import { ConfirmHost } from "../ui/confirm";
import { Logo } from "../ui/Logo";
import { attempt } from "../ui/toasts";
import { CloseDialog } from "./CloseDialog";
import { ConnectionScreen } from "./ConnectionScreen";
import type { Navigation, View, WizardSource } from "./navigation";
import { OwnWindowButtons } from "./OwnWindowButtons";
import { useShortcuts } from "./shortcuts";
import { Sidebar } from "./Sidebar";
import { Announcer, ToastShelf } from "./Toasts";
import "../features/wizard/wizard.css";
import "./app.css";

const Palette = lazy(() => import("./Palette"));
const Wizard = lazy(async () => ({ default: (await import("../features/wizard")).Wizard }));
const Activity = lazy(() => import("../features/activity/Activity"));
const NetworksPage = lazy(() => import("../features/networks/NetworksPage"));
const TrashPage = lazy(() => import("../features/trash/TrashPage"));
const HostPage = lazy(() => import("../features/host/HostPage"));
const PreferencesPage = lazy(() => import("../features/settings/PreferencesPage"));

const rememberMs = 600;

/** The main window. */
export function App() {
  const connection = useConnection();
  const loaded = useMachines() !== undefined;
  // A connection that is being made again takes nothing away from the person: what they were at stays.
  const usable = connection.state === "connected" || (connection.state === "connecting" && loaded);
  return (
    <>
      {usable ? <Main /> : <ConnectionScreen connection={connection} />}
      {usable && <Announcer />}
      <CloseDialog />
      <ConfirmHost />
      <ToastShelf />
    </>
  );
}

function Main() {
  const machines = useMachines();
  const preferences = usePreferences();
  const store = useStore();
  const [view, setView] = useState<View | undefined>();
  const [tab, setTab] = useState<MachineTab>("overview");
  const [wizard, setWizard] = useState<{ source: WizardSource | undefined } | undefined>();
  const [palette, setPalette] = useState(false);
  const remembering = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);

  const { sidebarCollapsed } = preferences;
  const show = useCallback(
    (next: View) => {
      setView(next);
      // Kept for the next start, once the person has come to rest.
      clearTimeout(remembering.current);
      if (next.kind === "machine") remembering.current = setTimeout(() => void attempt(() => store.setPreferences({ selectedMachine: next.id })), rememberMs);
    },
    [store],
  );
  const navigation = useMemo<Navigation>(
    () => ({
      show,
      openWizard: (source) => setWizard({ source }),
      openPalette: () => setPalette(true),
      toggleSidebar: () => void attempt(() => store.setPreferences({ sidebarCollapsed: !store.preferences.get().sidebarCollapsed })),
    }),
    [show, store],
  );
  const selectMachine = useCallback((id: string) => show({ kind: "machine", id }), [show]);

  const found = resolveView(view, machines, preferences.selectedMachine);
  // When the machine that is looked at goes away, the one beside it takes its place.
  const wantedId = view === undefined ? preferences.selectedMachine : view.kind === "machine" ? view.id : undefined;
  const known = useRef(machines);
  useLayoutEffect(() => {
    const before = known.current;
    known.current = machines;
    const next = before && machines && wantedId !== undefined && !machines.has(wantedId) ? neighbourOf(wantedId, before, machines) : undefined;
    if (next !== undefined) show({ kind: "machine", id: next });
  }, [machines, wantedId, show]);
  // One object for one view, so that the sidebar is drawn again only when it changes.
  const kind = found?.kind;
  const foundId = found?.kind === "machine" ? found.id : undefined;
  // eslint-disable-next-line react-hooks/exhaustive-deps -- kind and id are all that a view is
  const resolved = useMemo(() => found, [kind, foundId]);
  const selectedId = resolved?.kind === "machine" ? resolved.id : undefined;
  const selected = useMachine(selectedId);
  // The list answers a key at once; the page follows when there is time.
  const deferredId = useDeferredValue(selectedId);
  useShortcuts(navigation, selected, wizard === undefined && !palette);
  useEffect(() => {
    document.title = selected ? `${selected.name} - Terrarium` : "Terrarium";
  }, [selected]);

  const buttons = useMemo(() => <OwnWindowButtons />, []);

  if (!machines || !resolved) return <div className="boot" role="status" aria-label="Loading the machines" />;
  if (wizard) {
    return (
      <div className="wizard-frame">
        <div className="wizard-top drag">
          <Logo size={18} />
          <b>New machine</b>
          <span className="grow" />
          <OwnWindowButtons />
        </div>
        <main className="pane centre">
          <Boundary what="The wizard">
            <Suspense fallback={null}>
              <Wizard
                initialSource={wizard.source}
                onClose={(createdId?: string) => {
                  setWizard(undefined);
                  if (createdId !== undefined) selectMachine(createdId);
                }}
              />
            </Suspense>
          </Boundary>
        </main>
      </div>
    );
  }

  return (
    <div className="frame">
      <Sidebar view={resolved} navigation={navigation} onSelect={selectMachine} collapsed={sidebarCollapsed} />
      <main className="main">
        <div className="pane centre">
          <Boundary key={resolved.kind} what="This page">
            <Suspense fallback={<div className="page-top drag">{buttons}</div>}>
              {resolved.kind === "machine" && <MachinePage id={deferredId ?? resolved.id} tab={tab} onTab={setTab} windowButtons={buttons} />}
              {resolved.kind === "welcome" && (
                <>
                  <div className="page-top drag">{buttons}</div>
                  <Welcome onWizard={navigation.openWizard} onCreated={selectMachine} />
                </>
              )}
              {resolved.kind === "networks" && <NetworksPage windowButtons={buttons} onMachine={selectMachine} />}
              {resolved.kind === "activity" && <Activity windowButtons={buttons} onMachine={selectMachine} />}
              {resolved.kind === "trash" && <TrashPage windowButtons={buttons} onMachine={selectMachine} />}
              {resolved.kind === "host" && <HostPage windowButtons={buttons} />}
              {resolved.kind === "preferences" && <PreferencesPage windowButtons={buttons} />}
            </Suspense>
          </Boundary>
        </div>
      </main>
      {palette && (
        <Suspense fallback={null}>
          <Palette navigation={navigation} selected={selected} onClose={() => setPalette(false)} />
        </Suspense>
      )}
      <RenameHost />
    </div>
  );
}

/** A machine that is gone gives way to another one; without machines the first run's screen stands there. */
function resolveView(view: View | undefined, machines: ReadonlyMap<string, unknown> | undefined, last: string | undefined): View | undefined {
  if (!machines) return undefined;
  if (view && view.kind !== "machine" && view.kind !== "welcome") return view;
  if (view?.kind === "machine" && machines.has(view.id)) return view;
  if (last !== undefined && machines.has(last)) return { kind: "machine", id: last };
  const [first] = machines.keys();
  return first === undefined ? { kind: "welcome" } : { kind: "machine", id: first };
}
