/**
 * The light way in: where a home is, who holds it, and where the program's own parts lie. Clients need no more than
 * this, and start without loading what machines are made of.
 */
export { fileError } from "../storage/fileErrors";
export { makeLogsFolder, resolveHome } from "./home";
export { readLock, type LockRecord } from "./lock";
export { hostSocketPath } from "./runDir";
export { resolveRuntime, type Runtime } from "./runtime";
