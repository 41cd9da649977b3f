import { describe, expect, it } from "vitest";
import { ownEnvironment } from "../../../core/engine/machineProcess";

describe("the environment of a machine process", () => {
  it("holds what programs need, and nothing that is private or changes what they run", () => {
    const given = { PATH: "/bin", HOME: "/home/a", LC_ALL: "C", TMPDIR: "/t", API_TOKEN: "secret", SSH_AUTH_SOCK: "/s", NODE_OPTIONS: "--require x", NODE_EXTRA_CA_CERTS: "/c", PATHS: "no" };
    expect(ownEnvironment(given)).toEqual({ PATH: "/bin", HOME: "/home/a", LC_ALL: "C", TMPDIR: "/t" });
  });
});
