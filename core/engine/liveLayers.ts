import { dirname, relative } from "node:path";
import type { DiskConfig } from "../contract/model";
import { layerFile, layerNode, noFile, topNode, type LiveLayers } from "./engine";
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
      arguments: { actions: disks.map((disk) => ({ type: "blockdev-snapshot", data: { node: topNode(withoutTop(disk)), overlay: topNode(disk) } })) },
    }),
    tops: {
      ask: { execute: "query-block" },
      names: (answer) =>
        Array.isArray(answer)
          ? answer.flatMap((device: unknown) => {
              const inserted = isRecord(device) ? device["inserted"] : undefined;
              return isRecord(inserted) && typeof inserted["node-name"] === "string" ? [inserted["node-name"]] : [];
            })
          : [],
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

/** The disk as it was before its last layer came. */
function withoutTop(disk: DiskConfig): DiskConfig {
  return { ...disk, layers: disk.layers.slice(0, -1) };
}
