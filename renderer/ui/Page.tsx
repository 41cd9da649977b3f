import type { ReactNode } from "react";
import "./ui.css";

/** A page of the centre pane that is not a machine. */
export function Page({ title, about, actions, windowButtons, children }: { title: string; about?: string; actions?: ReactNode; windowButtons: ReactNode; children: ReactNode }) {
  return (
    <>
      <div className="page-top drag">{windowButtons}</div>
      <header className="page-head">
        <div className="grow">
          <h1>{title}</h1>
          {about !== undefined && <p className="dim">{about}</p>}
        </div>
        {actions}
      </header>
      <div className="page-body" role="region" aria-label={title} tabIndex={0}>{children}</div>
    </>
  );
}

/** What stands where nothing is yet: what would be here, and how it gets here. */
export function Nothing({ children }: { children: ReactNode }) {
  return <p className="nothing">{children}</p>;
}
