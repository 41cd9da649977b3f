import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "vitest";

/** A folder of its own for each test of the suite, removed after it. The path is short, so that sockets fit in. */
export function useTemporaryFolder(): { readonly path: string } {
  let path = "";
  beforeEach(async () => {
    path = await realpath(await mkdtemp(join(tmpdir(), "tt-")));
  });
  afterEach(async () => {
    await rm(path, { recursive: true, force: true });
  });
  return {
    get path() {
      return path;
    },
  };
}
