import { TerrariumError } from "../../contract/errors";
import type { HostSocketFailure } from "../nat/hostSockets";
import { formatIpv4, type Ipv4Address } from "../wire/addresses";
import { portHolder, type PortProtocol } from "./portHolder";

/** What a failed call on a socket means to whoever spoke through it; `code` is the system's name of the error, as "ECONNREFUSED". */
export function failureOf(code: string | undefined, connected: boolean): HostSocketFailure {
  switch (code) {
    case "ECONNREFUSED":
      return "refused";
    case "ECONNRESET":
    case "EPIPE":
    case "ECONNABORTED":
      return connected ? "reset" : "refused";
    case "EHOSTUNREACH":
    case "EHOSTDOWN":
      return "unreachable-host";
    case "ENETUNREACH":
    case "ENETDOWN":
      return "unreachable-network";
    case "ETIMEDOUT":
      return "timed-out";
    case "EACCES":
    case "EPERM":
      return "prohibited";
    case "EMFILE":
    case "ENFILE":
    case "ENOBUFS":
    case "ENOMEM":
    case "EADDRNOTAVAIL": // To `connect` this is: no local port is free.
    case "EAGAIN":
      return "out-of-sockets";
    default:
      return connected ? "reset" : "unreachable-host";
  }
}

/** Why a port of the host could not be taken, and what can be done about it. */
export async function bindError(code: string | undefined, protocol: PortProtocol, address: Ipv4Address, port: number): Promise<TerrariumError> {
  const where = `${protocol.toUpperCase()} port ${port} of ${address === 0 ? "this computer" : formatIpv4(address)}`;
  switch (code) {
    case "EADDRINUSE": {
      const holder = await portHolder(protocol, address, port);
      const by = holder === undefined ? "another program" : `${holder.name} (process ${holder.pid})`;
      return new TerrariumError("locked", `${where} is in use by ${by}.`, "Choose another port, or end the program that uses it.");
    }
    case "EADDRNOTAVAIL":
      return new TerrariumError("unavailable", `${formatIpv4(address)} is no address of this computer, so nothing can be taken in there.`, "Choose an address of this computer, or 0.0.0.0 for all of them.");
    case "EACCES":
    case "EPERM":
      return new TerrariumError("unavailable", `${where} cannot be used: the system keeps it for privileged programs.`, "Choose a port of 1024 or above.");
    case "EMFILE":
    case "ENFILE":
      return new TerrariumError("insufficient-resources", `${where} cannot be used: no more sockets can be opened.`, "Remove port forwards that are not needed, or allow more open files.");
    default:
      return new TerrariumError("unavailable", `${where} cannot be used: ${code ?? "the system gave no reason"}.`);
  }
}
