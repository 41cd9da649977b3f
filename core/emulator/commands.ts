import { writeFileSync, statSync } from "node:fs";
import { version as v86Version } from "v86/package.json";
import { errorCode } from "../storage/blockDevice";
import type { Clock } from "../base/clock";
import { pressKeys, sendEvents } from "./input";
import { CommandFailure, type MachineProcess } from "./machineProcess";
import { Parameters, QmpError, type QmpCommand, type QmpVersion } from "./qmp";

export const qmpVersion: QmpVersion = { major: 0, minor: 1, micro: 0, package: `terrarium-emulator (v86 ${v86Version})` };

/**
 * Every command of the machine's monitor. Names, arguments and answers are QEMU's; those beginning with `x-` are ours.
 * `migrate` and `migrate-incoming` take `file:PATH`. A state is written uncompressed, which restores fastest, unless
 * `migrate-set-parameters` has set `multifd-compression` to `zlib`; reading finds out by itself.
 */
export function createCommands(machine: MachineProcess, clock: Clock): ReadonlyMap<string, QmpCommand> {
  const commands = new Map<string, QmpCommand>();
  const add = (name: string, known: readonly string[], run: QmpCommand): void => {
    commands.set(name, async (parameters) => {
      parameters.only(...known);
      try {
        return await run(parameters);
      } catch (error) {
        // What the machine refuses or the system denies is the client's to hear; anything else is a bug and is logged too.
        if (error instanceof CommandFailure || errorCode(error) !== undefined) throw new QmpError((error as Error).message);
        throw error;
      }
    });
  };
  addInformation(add, machine, commands);
  addLife(add, machine);
  addDevices(add, machine);
  addMigration(add, machine);
  add("send-key", ["keys", "hold-time"], (parameters) =>
    pressKeys(machine.input, clock, parameters.list("keys"), parameters.has("hold-time") ? parameters.integer("hold-time") : 100),
  );
  add("input-send-event", ["device", "head", "events"], (parameters) => sendEvents(machine.input, parameters.list("events")));
  return commands;
}

type Add = (name: string, known: readonly string[], run: QmpCommand) => void;

function addInformation(add: Add, machine: MachineProcess, commands: ReadonlyMap<string, QmpCommand>): void {
  add("query-status", [], () => ({ status: machine.runState, running: machine.runState === "running" }));
  add("query-version", [], () => {
    const { package: name, ...qemu } = qmpVersion;
    return { qemu, package: name };
  });
  add("query-commands", [], () => ["qmp_capabilities", ...commands.keys()].map((name) => ({ name })));
  add("query-name", [], () => ({ name: machine.machine.name }));
  add("query-uuid", [], () => ({ UUID: machine.machine.uuid }));
  add("query-block", [], () => blockDevices(machine));
  add("query-blockstats", [], async () => {
    const { disks } = await machine.statistics();
    return disks.map((disk) => ({
      device: disk.id,
      "node-name": disk.id,
      stats: {
        rd_bytes: disk.readBytes,
        wr_bytes: disk.writtenBytes,
        rd_operations: disk.reads,
        wr_operations: disk.writes,
        flush_operations: disk.flushes,
        failed_rd_operations: disk.failedReads,
        failed_wr_operations: disk.failedWrites,
        failed_flush_operations: disk.failedFlushes,
      },
    }));
  });
  add("x-query-netstats", [], async () => {
    const { adapters } = await machine.statistics();
    return adapters.map((adapter, index) => ({
      name: adapter.id,
      mac: adapter.mac,
      link: machine.linkOf(index),
      driver: adapter.driver,
      "tx-frames": adapter.sentFrames,
      "tx-bytes": adapter.sentBytes,
      "rx-frames": adapter.receivedFrames,
      "rx-bytes": adapter.receivedBytes,
      dropped: adapter.droppedFrames,
    }));
  });
  add("x-emulator-stats", [], async () => {
    const statistics = await machine.statistics();
    const usage = process.cpuUsage();
    return {
      instructions: statistics.instructions,
      "guest-milliseconds": Math.round(statistics.guestMilliseconds),
      "cpu-milliseconds": Math.round((usage.user + usage.system) / 1000),
      "resident-bytes": process.memoryUsage.rss(),
      "absolute-pointer": statistics.absolutePointer,
    };
  });
}

function addLife(add: Add, machine: MachineProcess): void {
  add("stop", [], () => machine.stop());
  add("cont", [], () => machine.cont());
  add("system_reset", [], () => machine.reset());
  add("system_powerdown", [], () => machine.powerButton());
  add("quit", [], () => {
    // The answer goes out before the end begins.
    setImmediate(() => void machine.quit("host-qmp-quit"));
  });
  add("screendump", ["filename", "format", "device", "head"], async (parameters) => {
    const format = parameters.has("format") ? parameters.string("format") : "png";
    if (format !== "png") throw new QmpError(`Invalid parameter 'format': this machine makes png, not ${format}`);
    const filename = parameters.string("filename");
    writeFileSync(filename, await machine.screenshot());
  });
}

function addDevices(add: Add, machine: MachineProcess): void {
  const cd = machine.machine.cdrom?.id ?? "cd0";
  const requireCd = (parameters: Parameters): void => {
    const name = parameters.has("id") ? "id" : "device";
    const id = parameters.string(name);
    if (id === cd) return;
    if (machine.machine.disks.some((disk) => disk.id === id)) throw new QmpError(`Device '${id}' is not removable`);
    throw new QmpError(`Device '${id}' not found`, "DeviceNotFound");
  };
  add("blockdev-change-medium", ["device", "id", "filename", "format", "force", "read-only-mode"], (parameters) => {
    requireCd(parameters);
    return machine.changeMedium(parameters.string("filename"));
  });
  add("eject", ["device", "id", "force"], (parameters) => {
    requireCd(parameters);
    return machine.changeMedium(null);
  });
  add("set_link", ["name", "up"], (parameters) => {
    const name = parameters.string("name");
    const up = parameters.boolean("up");
    const index = machine.machine.adapters.findIndex((adapter) => adapter.id === name);
    if (index < 0) throw new QmpError(`Device '${name}' not found`, "DeviceNotFound");
    machine.setLink(index, up);
  });
}

function addMigration(add: Add, machine: MachineProcess): void {
  let compression: "none" | "zlib" = "none";
  add("migrate-set-capabilities", ["capabilities"], (parameters) => {
    for (const entry of parameters.list("capabilities")) {
      const capability = Parameters.of(entry, "capabilities");
      const name = capability.string("capability");
      const state = capability.boolean("state");
      if (name === "events") machine.migrationEvents = state;
      else if (state) throw new QmpError(`Capability '${name}' is not supported`);
    }
  });
  add("query-migrate-capabilities", [], () => [{ capability: "events", state: machine.migrationEvents }]);
  add("migrate-set-parameters", ["multifd-compression"], (parameters) => {
    if (!parameters.has("multifd-compression")) return;
    const value = parameters.string("multifd-compression");
    if (value !== "none" && value !== "zlib") throw new QmpError(`Parameter 'multifd-compression' does not accept value '${value}'`);
    compression = value;
  });
  add("query-migrate-parameters", [], () => ({ "multifd-compression": compression }));
  add("migrate", ["uri", "detach", "blk", "inc", "resume"], (parameters) => {
    const path = statePath(parameters);
    // As with QEMU the answer comes at once; the outcome is an event and in `query-migrate`.
    return machine.startSave(path, compression === "zlib");
  });
  add("migrate_cancel", [], () => machine.cancelSave());
  add("migrate-incoming", ["uri"], (parameters) => machine.load(statePath(parameters)));
  add("query-migrate", [], () => describeMigration(machine));
}

function statePath(parameters: Parameters): string {
  const uri = parameters.string("uri");
  if (!uri.startsWith("file:") || uri.length === 5) throw new QmpError(`unknown migration protocol: ${uri}`);
  return uri.slice(5);
}

function describeMigration(machine: MachineProcess): object {
  const { migration } = machine;
  if (migration.status === "none") return {};
  const { result } = migration;
  const total = result?.memory ?? migration.total;
  return {
    status: migration.status,
    ...(migration.reason === undefined ? {} : { "error-desc": migration.reason }),
    ram: {
      total,
      transferred: result?.file ?? migration.done,
      remaining: result ? 0 : migration.total - migration.done,
      "normal-bytes": result?.stored ?? migration.done,
    },
    ...(result ? { "total-time": Math.round(result.milliseconds) } : {}),
  };
}

function blockDevices(machine: MachineProcess): object[] {
  const disks = machine.machine.disks.map((disk) => {
    const failure = machine.diskFailures.get(disk.id);
    return {
      device: disk.id,
      type: "unknown",
      removable: false,
      locked: false,
      "io-status": !failure || machine.runState !== "io-error" ? "ok" : failure.noSpace ? "nospace" : "failed",
      inserted: inserted(disk.id, disk.file, disk.readOnly),
    };
  });
  const cd = machine.machine.cdrom?.id ?? "cd0";
  const { medium } = machine;
  const drive = {
    device: cd,
    type: "unknown",
    removable: true,
    locked: false,
    tray_open: false,
    ...(medium === null ? {} : { inserted: inserted(cd, medium, true) }),
  };
  return [...disks, drive];
}

function inserted(id: string, file: string, readOnly: boolean): object {
  const stats = statSync(file, { throwIfNoEntry: false });
  return {
    file,
    "node-name": id,
    ro: readOnly,
    drv: "raw",
    image: { filename: file, format: "raw", "virtual-size": stats?.size ?? 0, "actual-size": (stats?.blocks ?? 0) * 512 },
  };
}
