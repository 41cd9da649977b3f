import { PushPin } from "@phosphor-icons/react/dist/csr/PushPin";
import { PushPinSlash } from "@phosphor-icons/react/dist/csr/PushPinSlash";
import type { LeaseInfo } from "../../../core/contract/network";
import { Button } from "../Button";
import { formatDuration } from "../format";
import "./network.css";

/** Addresses that were given out on `of`. Where a network can keep one for its card, `onReserve` does it or undoes it. */
export function LeaseTable({ of, leases, now, machineName, onReserve }: { of: string; leases: readonly LeaseInfo[]; now: number; machineName(id: string): string | undefined; onReserve?: ((lease: LeaseInfo, reserved: boolean) => void) | undefined }) {
  return (
    <div className="table-scroll" tabIndex={0} role="region" aria-label={`Addresses given out on ${of}`}>
      <table className="rows">
        <thead>
          <tr>
            <th scope="col">Address</th>
            <th scope="col">Machine</th>
            <th scope="col">Card</th>
            <th scope="col">For</th>
            {onReserve && <td />}
          </tr>
        </thead>
        <tbody>
          {leases.map((lease) => {
            const { mac, address, hostname, machine, expiresAt, reserved } = lease;
            const name = (machine && machineName(machine.id)) ?? hostname ?? "unknown";
            return (
              <tr key={mac}>
                <td className="mono selectable">{address}</td>
                <td>
                  {name}
                  {hostname !== undefined && hostname !== name && <span className="faint"> calls itself {hostname}</span>}
                </td>
                <td className="mono selectable">{mac}</td>
                <td className="num">{reserved ? "always, reserved" : expiresAt > now ? `${formatDuration(expiresAt - now)} more` : "run out"}</td>
                {onReserve && (
                  <td className="act">
                    <Button small look="quiet" icon={reserved ? PushPinSlash : PushPin} onClick={() => onReserve(lease, !reserved)}>
                      {reserved ? `Free ${address}` : "Reserve this address"}
                    </Button>
                  </td>
                )}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
