import { useState } from "react";
import { Button } from "../../ui/Button";
import { Problem } from "../../ui/Problem";
import { sshUser } from "../../../core/contract/desktop";
import type { Ssh } from "./useSsh";

/** What stands over the ssh terminal while nobody is logged in: who logs in, why it did not work, the way back in. */
export function SshCover({ ssh }: { ssh: Ssh }) {
  const [user, setUser] = useState("");
  if (ssh.state === "connecting" || ssh.state === "connected") return null;
  const asked = ssh.user === undefined;
  const lack = !asked ? undefined : user.trim() === "" ? "Say who logs in first." : sshUser.safeParse(user.trim()).success ? undefined : "That is no name of a user.";
  const problem = ssh.refused ?? ssh.problem;
  const refused = ssh.refused?.message ?? lack;
  return (
    <div className={ssh.state === "ended" ? "ssh-cover below" : "ssh-cover"}>
      <form
        className="card"
        aria-label="Connect by SSH"
        onSubmit={(event) => {
          event.preventDefault();
          if (refused === undefined) ssh.connect(ssh.user ?? user.trim());
        }}
      >
        {problem && <Problem level="warning" message={problem.message} remedy={problem.remedy} />}
        {asked && !ssh.refused && (
          <label className="row" style={{ gap: 10 }}>
            <span>Log in as</span>
            <input className="input mono" style={{ width: 160 }} value={user} maxLength={32} spellCheck={false} autoComplete="off" autoFocus onChange={(event) => setUser(event.target.value)} />
          </label>
        )}
        <Button type="submit" look={ssh.state === "ended" ? "plain" : "primary"} refused={refused}>{ssh.state === "idle" ? "Connect" : "Connect again"}</Button>
      </form>
    </div>
  );
}
