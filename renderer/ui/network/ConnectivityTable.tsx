import { CheckCircle } from "@phosphor-icons/react/dist/csr/CheckCircle";
import { Minus } from "@phosphor-icons/react/dist/csr/Minus";
import type { NetworkMode } from "../../../core/contract/model";
import { connectivity, directions, networkColours, networkModes, networkNames, type Reach } from "./modes";
import "./network.css";

/** Who reaches whom in every kind of network; the chosen one stands out. */
export function ConnectivityTable({ chosen }: { chosen?: NetworkMode }) {
  return (
    <div className="table-scroll" tabIndex={0} role="region" aria-label="Who reaches whom">
      <table className="reach">
        <thead>
          <tr>
            <td />
            {directions.map(({ id, label }) => (
              <th key={id} scope="col">{label}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {networkModes.map((mode) => (
            <tr key={mode} className={mode === chosen ? "chosen" : undefined}>
              <th scope="row">
                <svg width="16" height="4" aria-hidden="true">
                  <path d="M0 2H16" stroke={networkColours[mode]} strokeWidth="3" strokeDasharray={mode === "internal" || mode === "none" ? "3 3" : undefined} />
                </svg>
                {networkNames[mode]}
              </th>
              {directions.map(({ id }) => (
                <td key={id}>
                  <Reached reach={connectivity[mode][id]} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Reached({ reach }: { reach: Reach }) {
  if (reach === "forward") return <span className="s dim">by port forward</span>;
  return (
    <>
      {reach === "yes" ? <CheckCircle className="ic leaf" aria-hidden /> : <Minus className="ic faint" aria-hidden />}
      <span className="visually-hidden">{reach}</span>
    </>
  );
}
