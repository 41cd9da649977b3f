/** The package is installed under another name than the one its own types are declared for. What is used of it: */
declare module "node-pty" {
  interface PtyOptions {
    name: string;
    cols: number;
    rows: number;
    cwd: string;
    env: Record<string, string>;
    /** Null: bytes, not text. */
    encoding: null;
  }
  interface Pty {
    onData(listener: (data: string | Uint8Array) => void): unknown;
    onExit(listener: (end: { exitCode: number }) => void): unknown;
    write(data: string | Uint8Array): void;
    resize(columns: number, rows: number): void;
    pause(): void;
    resume(): void;
    kill(signal?: string): void;
  }
  export function spawn(program: string, args: string[], options: PtyOptions): Pty;
}
