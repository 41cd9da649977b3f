import { lazy, Suspense, useCallback, useEffect, useMemo, useState } from "react";
import { useConnection, useMachine, useMachines, usePreferences, useStore } from "../api/hooks";
import { MachinePage, type MachineTab } from "../features/machines/MachinePage";
import { RenameHost } from "../features/machines/rename";
import { Welcome } from "../features/machines/Welcome";
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
const TrashPage = lazy(() => import("../features/trash/TrashPage"));
const HostPage = lazy(() => import("../features/host/HostPage"));
const PreferencesPage = lazy(() => import("../features/settings/PreferencesPage"));

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

  const { sidebarCollapsed } = preferences;
  const show = useCallback(
    (next: View) => {
      setView(next);
      if (next.kind === "machine") void attempt(() => store.setPreferences({ selectedMachine: next.id }));
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

  const resolved = resolveView(view, machines, preferences.selectedMachine);
  const selectedId = resolved?.kind === "machine" ? resolved.id : undefined;
  const selected = useMachine(selectedId);
  useShortcuts(navigation, selected, wizard === undefined && !palette);
  useEffect(() => {
    document.title = selected ? `${selected.name} - Terrarium` : "Terrarium";
  }, [selected]);

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

  const buttons = <OwnWindowButtons />;
  return (
    <div className="frame">
      <Sidebar view={resolved} navigation={navigation} onSelect={selectMachine} collapsed={sidebarCollapsed} />
      <main className="main">
        <div className="pane centre">
          <Boundary key={resolved.kind === "machine" ? resolved.id : resolved.kind} what="This page">
            <Suspense fallback={<div className="page-top drag">{buttons}</div>}>
              {resolved.kind === "machine" && <MachinePage id={resolved.id} tab={tab} onTab={setTab} windowButtons={buttons} />}
              {resolved.kind === "welcome" && (
                <>
                  <div className="page-top drag">{buttons}</div>
                  <Welcome onWizard={navigation.openWizard} onCreated={selectMachine} />
                </>
              )}
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
