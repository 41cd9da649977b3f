import { lazy, Suspense, useEffect, useState } from "react";
import type { MachineInfo } from "../../../core/contract/model";
import { isLive } from "../../../core/contract/states";
import { call, desktop } from "../../api/client";
import { localDisplay } from "../../api/display";
import { openStream, type Channel } from "../../api/stream";
import { Boundary } from "../../ui/Boundary";
import { attempt } from "../../ui/toasts";
import { mainCommand, commands, refusalOf, runCommand } from "./commands";

const GuestScreen = lazy(async () => ({ default: (await import("../../ui/GuestScreen")).GuestScreen }));

/** How long a machine must stay selected before its display is opened: passing by with the arrow keys costs nothing. */
const settleMs = 150;
const retryMs = 1_500;
/** Enough to see what a guest is doing; its console shows every picture. */
const picturesPerSecond = 4;

/** The machine's screen behind glass: live while it runs, else what it last showed. A click opens the console or starts it. */
export function Preview({ machine }: { machine: MachineInfo }) {
  const live = isLive(machine.state);
  const channel = useDisplay(machine.id, live);
  const [size, setSize] = useState({ width: 720, height: 400 });
  const still = useStill(machine, channel === undefined);
  const command = live ? "openConsole" : mainCommand(machine);
  const refused = refusalOf(command, machine);
  const ratio = size.width / size.height;

  return (
    <figure className={`tank preview ${machine.state}`} style={{ aspectRatio: `${ratio}` }}>
      {channel ? (
        <Boundary what="The preview">
        <Suspense fallback={null}>
          <GuestScreen channel={channel} viewOnly scale="fit" label={`Screen of ${machine.name}`} onSize={(width, height) => setSize({ width, height })} />
        </Suspense>
        </Boundary>
      ) : still ? (
        <img className="still" alt={`Last screen of ${machine.name}`} src={still} onLoad={(event) => setSize({ width: event.currentTarget.naturalWidth, height: event.currentTarget.naturalHeight })} />
      ) : (
        <svg className="ground" viewBox="0 0 720 400" preserveAspectRatio="none" aria-hidden="true">
          <path d="M0 330C150 306 270 350 410 328S620 318 720 334V400H0Z" fill="var(--line)" />
        </svg>
      )}
      {refused === undefined && (
        <button type="button" className="cover" aria-label={live ? `Open the console of ${machine.name}` : `${commands[command].label} ${machine.name}`} onClick={() => void (live ? attempt(() => desktop.openConsole(machine.id), machine.name) : runCommand(command, machine))}>
          <span className="preview-hint">{live ? "Click to open the console" : machine.state === "saved" ? "Click to go on where it was" : "Click to start"}</span>
        </button>
      )}
    </figure>
  );
}

/** The display stream of a running machine. It is opened again when it ends although the machine goes on. */
function useDisplay(id: string, live: boolean): Channel | undefined {
  const [channel, setChannel] = useState<Channel | undefined>();
  const [attempts, setAttempts] = useState(0);
  useEffect(() => {
    if (!live) return undefined;
    let current = true;
    let opened: Channel | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = (): void => {
      if (current) timer = setTimeout(() => setAttempts((count) => count + 1), retryMs);
    };
    timer = setTimeout(() => {
      openStream({ stream: "display", id }).then(
        (next) => {
          if (!current) return next.close();
          opened = watchEnd(localDisplay(next, picturesPerSecond), () => {
            setChannel(undefined);
            again();
          });
          setChannel(opened);
        },
        (error: unknown) => {
          console.debug(`no display of machine ${id} yet:`, error);
          again();
        },
      );
    }, settleMs);
    return () => {
      current = false;
      clearTimeout(timer);
      setChannel(undefined);
      opened?.close();
    };
  }, [id, live, attempts]);
  return channel;
}

/** Hears the end of a channel whose `onclose` belongs to noVNC. */
function watchEnd(channel: Channel, ended: () => void): Channel {
  let theirs: Channel["onclose"] = null;
  Object.defineProperty(channel, "onclose", {
    enumerable: true,
    configurable: true,
    get: () => (event: unknown) => {
      theirs?.(event);
      ended();
    },
    set: (next: Channel["onclose"]) => {
      theirs = next;
    },
  });
  return channel;
}

/** The last picture that was kept, as a data URL. */
function useStill(machine: MachineInfo, wanted: boolean): string | undefined {
  const [still, setStill] = useState<string | undefined>();
  const unavailable = refusalOf("screenshot", machine) !== undefined;
  const { id, since } = machine;
  useEffect(() => {
    if (!wanted || unavailable) return undefined;
    let current = true;
    call("machine.screenshot", { id }).then(
      ({ png }) => current && setStill(png === null ? undefined : `data:image/png;base64,${png}`),
      (error: unknown) => console.debug(`no picture of machine ${id}:`, error),
    );
    return () => {
      current = false;
    };
  }, [id, since, wanted, unavailable]);
  return still;
}
