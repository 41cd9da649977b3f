import { useEffect, useMemo, useState } from "react";
import type { HostInfo } from "../../core/contract/model";
import type { HostCard, NetworkInfo } from "../../core/contract/network";
import type { ProcedureInput } from "../../core/contract/procedures";
import { call } from "./client";
import { useHost, useNetworks, useStore } from "./hooks";

const noModes: HostInfo["networkModes"] = [];

const maker = {
  create: (spec: ProcedureInput<"network.create">["spec"]): Promise<NetworkInfo> => call("network.create", { spec }),
  freeSubnet: async (): Promise<string> => (await call("network.freeSubnet", {})).subnet,
};

/** What an adapter can be attached to. The cards of the host are looked for once, when somebody asks. */
export function useNetworkSurroundings() {
  const modes = useHost()?.networkModes ?? noModes;
  const networks = useNetworks();
  const { machines } = useStore();
  const cards = useHostCards();
  return useMemo(() => ({ ...maker, modes, networks, cards, machineName: (id: string) => machines.get()?.get(id)?.name }), [modes, networks, cards, machines]);
}

/** The host's cards; undefined until they have come. */
function useHostCards(): readonly HostCard[] | undefined {
  const [cards, setCards] = useState<readonly HostCard[]>();
  useEffect(() => {
    let wanted = true;
    call("network.cards", {}).then(
      (found) => wanted && setCards(found),
      (error: unknown) => {
        console.debug("the host's cards could not be listed:", error);
        if (wanted) setCards([]);
      },
    );
    return () => {
      wanted = false;
    };
  }, []);
  return cards;
}
