/** A compiled WebAssembly module; it can be sent to workers. (The types of the runtime's own are those of browsers.) */
export interface WasmModule {
  readonly [Symbol.toStringTag]: string;
}

export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}

interface WasmRuntime {
  compile(bytes: Uint8Array): Promise<WasmModule>;
  instantiate(module: WasmModule, imports: object): Promise<{ readonly exports: object }>;
}

const runtime = (globalThis as unknown as { WebAssembly: WasmRuntime }).WebAssembly;

export function compileWasm(bytes: Uint8Array): Promise<WasmModule> {
  return runtime.compile(bytes);
}

/** The exports of a new instance. */
export async function instantiateWasm(module: WasmModule, imports: object): Promise<object> {
  return (await runtime.instantiate(module, imports)).exports;
}
