import { dirname, relative } from "node:path";
import { layerFile, layerNode, noFile, type LiveLayers } from "./engine";
import { isRecord } from "./qmp";

/*
 * Layers that come and go while a machine runs, as QMP has it (QMP reference: blockdev-add, blockdev-snapshot, block-stream).
 * The commands are the same for every machine process that owns its disks. A layer is opened without anything under it and
 * is then put on the one that was written to, which becomes read-only; nothing an image says of itself is followed.
 */
export const liveLayers: { readonly layers: LiveLayers } = {
  layers: {
    open(disk, folder) {
      const layer = disk.layers[disk.layers.length - 1];
      if (!layer) throw noFile(disk);
      const file = { driver: "file", filename: layerFile(layer, folder), discard: "unmap" };
      return { execute: "blockdev-add", arguments: { driver: layer.format, "node-name": layerNode(disk, layer), discard: "unmap", backing: null, file } };
    },
    switchTo: (disks) => ({
      execute: "transaction",
      arguments: { actions: disks.map((data) => ({ type: "blockdev-snapshot", data })) },
    }),
    tops: {
      ask: { execute: "query-block" },
      nodes: (answer) => {
        const found = new Map<string, string>();
        for (const device of Array.isArray(answer) ? (answer as unknown[]) : []) {
          const { inserted, qdev } = isRecord(device) ? device : {};
          // A device is named by its id, or by the path of what is inside it: /machine/peripheral/disk0/virtio-backend.
          const disk = typeof qdev === "string" ? /(?:^|\/)(disk[0-3])(?:\/|$)/.exec(qdev)?.[1] : undefined;
          if (disk !== undefined && isRecord(inserted) && typeof inserted["node-name"] === "string") found.set(disk, inserted["node-name"]);
        }
        return found;
      },
    },
    close: (node) => ({ execute: "blockdev-del", arguments: { "node-name": node } }),
    merge(disk, into, folder, jobId) {
      const place = disk.layers.indexOf(into);
      const base = disk.layers[place - 2];
      return {
        execute: "block-stream",
        arguments: {
          "job-id": jobId,
          device: layerNode(disk, into),
          // Kept until it is dismissed, so that whoever comes later learns how it ended.
          "auto-dismiss": false,
          ...(base === undefined ? {} : { "base-node": layerNode(disk, base), "backing-file": relative(dirname(layerFile(into, folder)), layerFile(base, folder)) }),
        },
      };
    },
  },
};
