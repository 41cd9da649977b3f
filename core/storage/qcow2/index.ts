/** The entrance: nothing else of this folder is imported from outside. */
export { createQcow2, type CreateOptions } from "./create";
export { openQcow2, type OpenOptions } from "./open";
export type { Qcow2Image } from "./image";
export { checkQcow2, type CheckOptions, type CheckReport } from "./check";
export { repairQcow2, type RepairReport } from "./repair";
export { headerFields as qcow2Fields, incompatibleBits as qcow2Features, longHeaderBytes as qcow2HeaderBytes } from "./format";
export { qcow2Length } from "./length";
export type { BackingName } from "./backingName";
export { growQcow2 } from "./grow";
