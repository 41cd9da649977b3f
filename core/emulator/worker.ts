import { parentPort, workerData } from "node:worker_threads";
import { toWorkerPort } from "./workerPort";
import { runMachine } from "./machineWorker";
import type { WorkerStart } from "./messages";

if (!parentPort) throw new Error("the emulator's worker was started as a program");
runMachine(workerData as WorkerStart, toWorkerPort(parentPort));
