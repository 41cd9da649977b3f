import { ArrowDown } from "@phosphor-icons/react/dist/csr/ArrowDown";
import { ArrowUp } from "@phosphor-icons/react/dist/csr/ArrowUp";
import { Scissors } from "@phosphor-icons/react/dist/csr/Scissors";
import { useState } from "react";
import type { FlowRecord } from "../../../core/contract/network";
import { Button } from "../Button";
import { formatBytes, formatDuration } from "../format";
import { endText, flowColumns, orderAfterClick, sortedFlows, type FlowOrder } from "./flows";
import "./network.css";

/** More rows than these nobody reads; the order decides which. */
const mostRows = 200;

/** Conversations that pass a gateway now. Each can be cut. */
export function FlowTable({ of, flows, now, onCut, machineName }: { of: string; flows: readonly FlowRecord[]; now: number; onCut(flow: FlowRecord): void; machineName?: (id: string) => string | undefined }) {
  const [order, setOrder] = useState<FlowOrder>({ column: "age", descending: false });
  const rows = sortedFlows(flows, order);
  return (
    <div className="table-scroll" tabIndex={0} role="region" aria-label={`Conversations of ${of}`}>
      <table className="rows">
        <thead>
          <tr>
            {flowColumns.map(({ id, label }) => (
              <th key={id} scope="col" aria-sort={order.column === id ? (order.descending ? "descending" : "ascending") : undefined}>
                <button type="button" onClick={() => setOrder(orderAfterClick(order, id))}>
                  {label}
                  {order.column === id && (order.descending ? <ArrowDown size={10} aria-hidden /> : <ArrowUp size={10} aria-hidden />)}
                </button>
              </th>
            ))}
            <td />
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, mostRows).map((flow) => {
            const guest = endText(flow.guest, flow.protocol);
            const remote = endText(flow.remote, flow.protocol);
            const name = flow.machine && machineName?.(flow.machine.id);
            return (
              <tr key={flow.id}>
                <td>{flow.direction === "in" ? `${flow.protocol}, forwarded` : flow.protocol}</td>
                <td className="mono selectable">
                  {name !== undefined && <span className="s">{name} </span>}
                  {guest}
                </td>
                <td className="mono selectable">{remote}</td>
                <td>{flow.state.replaceAll("-", " ")}</td>
                <td className="num">{formatBytes(flow.sentBytes)}</td>
                <td className="num">{formatBytes(flow.receivedBytes)}</td>
                <td className="num">{formatDuration(now - flow.startedAt)}</td>
                <td className="act">
                  <Button small look="quiet" icon={Scissors} aria-label={`Cut ${guest} with ${remote}`} onClick={() => onCut(flow)} />
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {rows.length > mostRows && <p className="s faint">And {rows.length - mostRows} more.</p>}
    </div>
  );
}
