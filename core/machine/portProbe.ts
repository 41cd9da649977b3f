import type { Log } from "../base/log";
import type { PortForward } from "../contract/network";
import { openPortableIo } from "../net/io";
import { parseIpv4 } from "../net/wire/addresses";

/**
 * Tries whether the ports of a forward can be listened on now.
 * @throws TerrariumError why not, naming who has one
 */
export async function probePorts({ protocol, hostAddress, hostPort, count = 1 }: PortForward, log: Log): Promise<void> {
  const io = openPortableIo(log);
  const address = parseIpv4(hostAddress) ?? 0;
  try {
    for (let port = hostPort; port < hostPort + count; port++) {
      const opened = protocol === "tcp" ? await io.sockets.listenTcp(address, port, () => undefined) : await io.sockets.bindUdp({ address, port }, { datagram: () => undefined, failed: () => undefined });
      opened.dispose();
    }
  } finally {
    io.stop();
  }
}
