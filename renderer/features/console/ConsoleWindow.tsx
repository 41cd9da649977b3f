import { useCallback, useEffect, useRef, useState } from "react";
import { isLive, refusal } from "../../../core/contract/states";
import { call, desktop } from "../../api/client";
import { useHost, useMachine, useMachines, usePreferences, useStore } from "../../api/hooks";
import { localDisplay } from "../../api/display";
import { openStream } from "../../api/stream";
import type { GuestScreenHandle } from "../../ui/GuestScreen";
import { Logo } from "../../ui/Logo";
import { StateGlyph } from "../../ui/StateGlyph";
import { stateNames } from "../../ui/format";
import { attempt, toasts } from "../../ui/toasts";
import { WindowButtons } from "../../ui/WindowButtons";
import { runAction, type MachineAction } from "./actions";
import { ConsoleStage } from "./ConsoleStage";
import { ConsoleToolbar } from "./ConsoleToolbar";
import { hostKeyLabel } from "./hostKey";
import { ctrlAltDelete } from "./keys";
import { TerminalPane, type TerminalView } from "./TerminalPane";
import { TypeTextDialog } from "./TypeTextDialog";
import { useChannel } from "./useChannel";
import { useSsh } from "./useSsh";
import { useHostKey } from "./useHostKey";
import "./console.css";

/** One machine's console: its display, its serial port, and the keys and commands for both. */
export function ConsoleWindow({ id, show }: { id: string; show?: "ssh" | undefined }) {
  const machines = useMachines();
  const machine = useMachine(id);
  const store = useStore();
  const host = useHost();
  const preferences = usePreferences();
  const [captured, setCaptured] = useState(false);
  const [pane, setPane] = useState<TerminalView | undefined>(show);
  // A login goes on behind a pane that was put away, and what it said is still there when the pane comes back.
  const [everShown, setEverShown] = useState(pane);
  if (pane !== undefined && pane !== everShown) setEverShown(pane);
  const toggle = (view: TerminalView): void => setPane((shown) => (shown === view ? undefined : view));
  const [typing, setTyping] = useState(false);
  const [size, setSize] = useState<{ width: number; height: number }>();
  const [windowState, setWindowState] = useState({ maximized: false, fullscreen: false, focused: true });
  const screen = useRef<GuestScreenHandle>(null);

  const live = machine !== undefined && isLive(machine.state);
  // A machine process that is just starting has no sockets yet; the host service refuses streams until it has.
  const reachable = live && (machine.state !== "starting" || machine.startedFrom !== undefined);
  const openDisplay = useCallback(async () => localDisplay(await openStream({ stream: "display", id })), [id]);
  const openSerial = useCallback(() => openStream({ stream: "serial", id }), [id]);
  const display = useChannel(reachable, openDisplay);
  const serial = useChannel(reachable && pane !== undefined, openSerial);
  const ssh = useSsh(machine, pane === "ssh");
  const serialChannel = serial.channel;
  const serialEnded = serial.ended;
  useEffect(() => {
    if (serialChannel) serialChannel.onclose = serialEnded;
  }, [serialChannel, serialEnded]);

  useEffect(() => window.terrarium.onWindowState(setWindowState), []);
  useEffect(() => window.terrarium.onConsoleView(setPane), []);
  useEffect(() => {
    if (machine) document.title = `${machine.name} – Terrarium`;
  }, [machine]);
  useEffect(() => {
    if (!live) setCaptured(false);
  }, [live]);

  const act = (action: MachineAction): void => {
    if (machine) void runAction(action, machine);
  };
  const setScale = (scale: "fit" | "one"): void => void attempt(() => store.setPreferences({ consoleScale: scale }));
  const toggleFullscreen = (): void => void attempt(() => window.terrarium.window("fullscreen"));
  const screenshot = (): void => {
    if (!machine) return;
    void attempt(async () => {
      const picture = await call("machine.screenshot", { id });
      if (picture.png === null) return;
      const path = await desktop.saveScreenshot(`${machine.name}.png`, picture.png);
      if (path !== null) toasts.show({ level: "success", message: `Saved the screen of ${machine.name} to ${path}.` });
    }, machine.name);
  };
  const typeText = (text: string): void => {
    void attempt(async () => {
      await call("machine.typeText", { id, text });
      // Only now: a text that could not be typed is still there to be mended.
      setTyping(false);
      screen.current?.capture();
    }, machine?.name);
  };

  useHostKey(preferences.hostKey, {
    release: () => screen.current?.release(),
    fullscreen: toggleFullscreen,
    ctrlAltDelete: () => screen.current?.press(ctrlAltDelete.keys),
    screenshot,
    typeText: () => {
      if (machine && refusal("sendInput", machine) === undefined) setTyping(true);
    },
    serial: () => toggle("serial"),
    scale: () => setScale(preferences.consoleScale === "fit" ? "one" : "fit"),
    pause: () => {
      if (machine) act(machine.state === "paused" ? "resume" : "pause");
    },
    menu: () => {
      screen.current?.release();
      document.querySelector<HTMLElement>(".console .toolbar button")?.focus();
    },
  });

  if (!machine) {
    return (
      <main className="console">
        <div className="titlebar drag">
          <Logo size={18} />
          <span className="grow" />
          <WindowButtons maximized={windowState.maximized} act={(action) => void window.terrarium.window(action)} />
        </div>
        <div style={{ display: "grid", placeItems: "center", flex: 1 }} role="status">
          {machines === undefined ? "Connecting…" : "This machine is no longer there. It may be in the trash."}
        </div>
      </main>
    );
  }

  const hostKey = hostKeyLabel(preferences.hostKey);
  const address = machine.guest.addresses[0]?.address;
  const classes = ["console", windowState.fullscreen && "full", captured && "guest-has-keyboard"].filter(Boolean).join(" ");
  return (
    <main className={classes}>
      <div className="chrome">
        {!windowState.fullscreen && (
          <header className="titlebar drag">
            <Logo size={18} />
            <StateGlyph state={machine.state} />
            <b className="trunc">{machine.name}</b>
            {address !== undefined && <span className="mono faint">{address}</span>}
            <span className="grow" />
            <WindowButtons maximized={windowState.maximized} act={(action) => void window.terrarium.window(action)} />
          </header>
        )}
        <ConsoleToolbar
          machine={machine}
          scale={preferences.consoleScale}
          terminal={pane}
          fullscreen={windowState.fullscreen}
          hostKey={hostKey}
          act={act}
          sendKeys={(combination) => screen.current?.press(combination.keys)}
          typeText={() => setTyping(true)}
          screenshot={screenshot}
          setScale={setScale}
          toggleTerminal={toggle}
          toggleFullscreen={toggleFullscreen}
        />
      </div>
      <div className="split">
        <ConsoleStage
          machine={machine}
          channel={display.channel}
          failure={display.failure}
          scale={preferences.consoleScale}
          captured={captured}
          screen={screen}
          onCaptureChange={setCaptured}
          onSize={(width, height) => setSize({ width, height })}
          onDisconnected={display.ended}
          onStart={() => act("start")}
        />
        {everShown !== undefined && <TerminalPane machine={machine.name} shown={pane !== undefined} view={pane ?? everShown} onView={setPane} serial={serialChannel} ssh={ssh} note={live ? serial.failure : stateNames[machine.state]} onClose={() => setPane(undefined)} />}
      </div>
      <footer className="status xs">
        <span className="row" style={{ gap: 7 }} aria-live="polite">
          {captured ? (
            <>
              Keyboard goes to the guest. <span className="kbd">{hostKey}</span> gives it back.
            </>
          ) : live ? (
            "Keyboard stays with this window. Click the screen to type in the guest."
          ) : (
            stateNames[machine.state]
          )}
        </span>
        <span className="grow" />
        {machine.unresponsive && <span className="bad">The machine does not answer.</span>}
        {live && size !== undefined && (
          <span className="num">
            {size.width} × {size.height}
          </span>
        )}
        <span>{machine.engine?.label ?? host?.engines.find((engine) => engine.available)?.label}</span>
      </footer>
      {typing && <TypeTextDialog onType={typeText} onClose={() => setTyping(false)} />}
    </main>
  );
}
