import { describe, expect, it } from "vitest";
import { TerrariumError } from "../../../core/contract/errors";
import { fileError } from "../../../core/storage/fileErrors";
import { systemError } from "../../support/faults";

describe("fileError", () => {
  it.each([
    ["ENOSPC", "disk-full"],
    ["EDQUOT", "disk-full"],
    ["EROFS", "read-only"],
    ["EACCES", "read-only"],
    ["ENOENT", "not-found"],
    ["EFBIG", "insufficient-resources"],
    ["EIO", "io"],
    ["EWHATEVER", "io"],
  ])("explains %s as %s, on what, and what to do", (code, expected) => {
    const error = fileError(systemError(code), "The thing could not be saved", "/home/x/thing");
    expect(error.code).toBe(expected);
    expect(error.message).toContain("The thing could not be saved (/home/x/thing)");
    expect(error.remedy).toBeTruthy();
  });

  it("does not blame a missing permission to read on a read-only place", () => {
    expect(fileError(systemError("EACCES"), "It could not be read", "/x", "read").code).toBe("io");
  });

  it("lets an explained error through and calls a bug a bug", () => {
    const explained = new TerrariumError("name-taken", "x");
    expect(fileError(explained, "y", "/z")).toBe(explained);
    expect(fileError(new TypeError("x is not a function"), "It could not be saved", "/z")).toMatchObject({ code: "internal" });
  });
});
