/** The part of noVNC 1.7 that Terrarium uses (its docs/API.md). */
declare module "@novnc/novnc" {
  /** What noVNC accepts in place of a WebSocket; every member must be an own property or on the immediate prototype. */
  export interface RawChannel {
    send(data: ArrayBuffer | ArrayBufferView): void;
    close(): void;
    binaryType: string;
    onerror: ((event: unknown) => void) | null;
    onmessage: ((event: { data: ArrayBuffer }) => void) | null;
    onopen: ((event: unknown) => void) | null;
    onclose?: ((event: unknown) => void) | null;
    readonly protocol: string;
    readonly readyState: string;
  }

  export default class RFB extends EventTarget {
    constructor(target: HTMLElement, channel: RawChannel, options?: { shared?: boolean });
    viewOnly: boolean;
    focusOnClick: boolean;
    clipViewport: boolean;
    dragViewport: boolean;
    scaleViewport: boolean;
    resizeSession: boolean;
    showDotCursor: boolean;
    background: string;
    qualityLevel: number;
    compressionLevel: number;
    disconnect(): void;
    focus(options?: FocusOptions): void;
    blur(): void;
    sendKey(keysym: number, code: string | null, down?: boolean): void;
    sendCtrlAltDel(): void;
  }
}
