import type { Socket } from "node:net";
import { DisposableStore, type Disposable } from "../base/disposable";
import type { Log } from "../base/log";
import type { Display } from "./framebuffer";
import type { InputSink } from "./inputSink";
import { Keyboard } from "./keyboard";
import { RfbSession } from "./rfbSession";
import { listenOn } from "./sockets";

/** Serves the display over RFB 3.8 on a Unix socket, to several clients at once. */
export interface RfbServer extends Disposable {
  /** Rejects when the socket cannot be made; see `listenOn`. */
  listen(path: string): Promise<void>;
  /** Stops listening and sends every client away. */
  dispose(): void;
  readonly clientCount: number;
}

/** More clients than this are turned away: each costs a compressor. */
const maximumClients = 32;

export function createRfbServer(options: {
  readonly display: Display;
  /** The machine's name, shown by viewers. */
  readonly name: string;
  readonly input: InputSink;
  readonly log: Log;
}): RfbServer {
  return new DisplayServer(options);
}

class DisplayServer implements RfbServer {
  private readonly sessions = new Set<RfbSession>();
  private readonly keyboard: Keyboard;
  private readonly owned = new DisposableStore();
  private nextNumber = 1;

  constructor(private readonly options: Parameters<typeof createRfbServer>[0]) {
    this.keyboard = new Keyboard((bytes) => options.input.scancodes(bytes));
  }

  get clientCount(): number {
    return this.sessions.size;
  }

  async listen(path: string): Promise<void> {
    this.owned.add(await listenOn(path, this.options.log, (socket) => this.accept(socket)));
  }

  dispose(): void {
    for (const session of [...this.sessions]) session.dispose();
    this.owned.dispose();
  }

  private accept(socket: Socket): void {
    const number = this.nextNumber++;
    const log = this.options.log.child(`viewer ${number}`);
    if (this.sessions.size >= maximumClients) {
      log.warn(`turned away: ${this.sessions.size} viewers are connected already`);
      socket.destroy();
      return;
    }
    log.info("connected");
    const session: RfbSession = new RfbSession({
      stream: socket,
      display: this.options.display,
      name: this.options.name,
      input: this.options.input,
      keyboard: this.keyboard,
      onDidEnd: (reason) => {
        this.sessions.delete(session);
        if (reason === undefined) log.info("gone");
        else log.warn(`closed: ${reason}`);
      },
    });
    this.sessions.add(session);
  }
}
