import { describe, expect, it } from "vitest";
import type { DoctorCheck } from "../../../../core/contract/model";
import { grouped, summary } from "../../../../renderer/features/host/checkGroups";
import { builtInEngine, qemuEngine } from "../../../support/fakeDesktop";

const check = (id: string, status: DoctorCheck["status"] = "ok"): DoctorCheck => ({ id, title: id, status, detail: "" });

describe("the checks of this computer", () => {
  it("stand by what they are about, none left out", () => {
    const checks = ["home", "accelerator-kvm", "engine-v86", "qemu-img", "accelerator-tcg", "starter", "something-new", "engine-qemu"].map((id) => check(id));
    expect(grouped(checks, [builtInEngine, qemuEngine]).map(({ checks: members }) => members.map(({ id }) => id))).toEqual([
      ["home", "something-new"],
      ["engine-v86", "qemu-img", "starter", "engine-qemu"],
      ["accelerator-kvm", "accelerator-tcg"],
    ]);
    expect(grouped([check("home")], [])).toHaveLength(1);
  });

  it("are summed up in words", () => {
    expect(summary([check("a")])).toBe("Everything machines need is in order.");
    expect(summary([check("a", "warning"), check("b", "error"), check("c", "error")])).toBe("Of 3 checks: 2 problems and 1 warning.");
  });
});
