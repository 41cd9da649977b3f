import { useEffect, useState } from "react";
import type { FileInspection } from "../../../core/contract/model";
import { call } from "../../api/client";

/** What the file at `path` is by its content, looked at again shortly after the path has changed. */
export function useInspection(path: string): FileInspection | undefined {
  const [inspection, setInspection] = useState<FileInspection>();
  useEffect(() => {
    setInspection(undefined);
    if (path === "") return undefined;
    let current = true;
    const timer = setTimeout(() => {
      // A file that cannot be looked at is what the findings of `machine.check` are about.
      call("media.inspect", { path }).then(
        (found) => current && setInspection(found),
        () => current && setInspection(undefined),
      );
    }, 150);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [path]);
  return inspection;
}
