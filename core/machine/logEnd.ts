import { open } from "node:fs/promises";
import { isMissing } from "../storage/fileErrors";

/** The last `maxBytes` of a log file as text, and whether something came before. A log that does not exist is empty. */
export async function readLogEnd(path: string, maxBytes: number): Promise<{ text: string; truncated: boolean }> {
  let file;
  try {
    file = await open(path, "r");
  } catch (error) {
    if (isMissing(error)) return { text: "", truncated: false };
    throw error;
  }
  try {
    const { size } = await file.stat();
    const length = Math.min(size, maxBytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return { text: buffer.toString("utf8", 0, bytesRead), truncated: size > length };
  } finally {
    await file.close();
  }
}
