/** noVNC's own decoder of ZRLE, which tests hold our encoder against. noVNC has no types. */
declare module "*/novnc/core/decoders/zrle.js" {
  interface Socket {
    rQwait(what: string, count: number): boolean;
    rQshift32(): number;
    rQshiftBytes(count: number): Uint8Array;
  }
  interface Target {
    fillRect(x: number, y: number, width: number, height: number, colour: number[]): void;
    blitImage(x: number, y: number, width: number, height: number, data: Uint8Array, offset: number): void;
  }
  export default class ZrleDecoder {
    decodeRect(x: number, y: number, width: number, height: number, socket: Socket, display: Target, depth: number): boolean;
  }
}
