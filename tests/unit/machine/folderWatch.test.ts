import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "../../../core/base/clock";
import { silentLog } from "../../../core/base/log";
import { FolderWatch } from "../../../core/machine/folderWatch";
import { useTemporaryFolder } from "../../support/temporaryFolder";

describe("the watch over machine folders", () => {
  const folder = useTemporaryFolder();
  const edited: string[] = [];
  const watch = new FolderWatch(systemClock(), silentLog, (id) => edited.push(id));
  afterEach(() => {
    watch.dispose();
    edited.length = 0;
  });

  it("tells of an edit once, whether the file is written or replaced, and of nothing else in the folder", async () => {
    const file = join(folder.path, "machine.json");
    await writeFile(file, "{}");
    watch.follow("a", folder.path);
    await writeFile(join(folder.path, "notes.txt"), "x");
    await writeFile(file, '{ "half": ');
    await writeFile(file, '{ "half": 1 }');
    await vi.waitFor(() => expect(edited).toEqual(["a"]));
    await writeFile(join(folder.path, ".machine.json.swp"), "{}");
    await rename(join(folder.path, ".machine.json.swp"), file);
    await vi.waitFor(() => expect(edited).toEqual(["a", "a"]));
  });

  it("follows a machine to another folder, and forgets one that is gone", async () => {
    const [one, two] = [join(folder.path, "one"), join(folder.path, "two")];
    await mkdir(one);
    await mkdir(two);
    watch.follow("a", one);
    watch.follow("a", two);
    watch.follow("b", join(folder.path, "nowhere"));
    await writeFile(join(one, "machine.json"), "{}");
    await writeFile(join(two, "machine.json"), "{}");
    await vi.waitFor(() => expect(edited).toEqual(["a"]));
    watch.forget("a");
    watch.follow("c", one);
    await writeFile(join(two, "machine.json"), "{ }");
    await writeFile(join(one, "machine.json"), "{ }");
    await vi.waitFor(() => expect(edited).toEqual(["a", "c"]));
  });
});
