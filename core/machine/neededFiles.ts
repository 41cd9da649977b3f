import { mkdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { TerrariumError } from "../contract/errors";
import type { NeededFile } from "../engine/engine";
import { syncFolder } from "../storage/atomicFile";
import { convertImage } from "../storage/formats/qemuImg";
import { isThere } from "./machineFolders";

/**
 * Makes the files a machine process needs beside its disks, each from its template, when they are not there yet. A file
 * that exists is whole: it gets its name last.
 * @throws TerrariumError.
 */
export async function makeNeededFiles(files: readonly NeededFile[], imageTool: string | undefined, signal: AbortSignal): Promise<void> {
  for (const { file, format, template, templateFormat } of files) {
    if (await isThere(file)) continue;
    if (imageTool === undefined) throw new TerrariumError("unavailable", "The machine's firmware needs a file of variables, and there is no qemu-img to make it with.", "Install qemu-img (Debian, Ubuntu: qemu-utils).");
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const unfinished = `${file}.tmp`;
    try {
      await rm(unfinished, { force: true });
      await convertImage({ qemuImg: imageTool, from: template, fromFormat: templateFormat, to: unfinished, toFormat: format, signal, progress: () => undefined });
      await rename(unfinished, file);
      await syncFolder(dirname(file));
    } finally {
      await rm(unfinished, { force: true });
    }
  }
}
