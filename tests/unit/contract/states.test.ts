import { describe, expect, it } from "vitest";
import { MachineState } from "../../../core/contract/model";
import { commandRules, isLive, machineCommands, refusal } from "../../../core/contract/states";

const states = MachineState.options;

describe("a guest that has panicked", () => {
  it("is not resumed, but may be reset, and one that was paused goes on", () => {
    expect(refusal("resume", { state: "paused", pauseReason: "guest-panic" })).toMatch(/panicked/);
    expect(refusal("reset", { state: "paused", pauseReason: "guest-panic" })).toBeUndefined();
    expect(refusal("resume", { state: "paused", pauseReason: "user" })).toBeUndefined();
  });
});

describe("the table of machine states", () => {
  it("decides every command in every state, either legal or with a reason of its own", () => {
    for (const command of machineCommands) {
      const rule = commandRules[command];
      for (const state of states) {
        const reason = refusal(command, { state });
        if (rule.legal.includes(state)) expect(reason, `${command} in ${state}`).toBeUndefined();
        else expect(rule.because[state], `${command} in ${state} lacks its reason`).toBe(reason);
      }
    }
  });

  it("gives no reason for a state in which the command is legal", () => {
    for (const command of machineCommands) {
      const rule = commandRules[command];
      for (const state of rule.legal) expect(rule.because[state], `${command} in ${state}`).toBeUndefined();
    }
  });

  it("refuses commands while a job holds the machine, but never the power plug or the view", () => {
    expect(refusal("start", { state: "off", jobId: "1" })).toMatch(/job/);
    expect(refusal("powerOff", { state: "running", jobId: "1" })).toBeUndefined();
    expect(refusal("viewConsole", { state: "running", jobId: "1" })).toBeUndefined();
  });

  it("never deletes or reconfigures a machine that has a process", () => {
    for (const state of states.filter(isLive)) {
      expect(refusal("delete", { state }), state).toBeDefined();
      expect(refusal("configure", { state }), state).toBeDefined();
    }
  });

  it("always leaves a way out of a machine that has a process", () => {
    for (const state of states.filter(isLive)) expect(refusal("powerOff", { state }), state).toBeUndefined();
  });
});
