import { CaretRight } from "@phosphor-icons/react/dist/csr/CaretRight";
import type { ReactNode } from "react";

/** What most people leave alone, folded away; open from the start when something in it asks for attention. */
export function Advanced({ children, open = false }: { children: ReactNode; open?: boolean }) {
  return (
    <details className="advanced" open={open || undefined}>
      <summary>
        <CaretRight className="ic xs" aria-hidden />
        Advanced
      </summary>
      <div className="form">{children}</div>
    </details>
  );
}
