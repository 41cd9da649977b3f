import { useSyncExternalStore, type ReactNode } from "react";
import { Button } from "./Button";
import { Modal } from "./Modal";

export interface Question {
  readonly title: string;
  /** What will be lost. */
  readonly body: ReactNode;
  readonly action: string;
  readonly danger?: boolean;
}

interface Asked extends Question {
  answer(yes: boolean): void;
}

let asked: Asked | undefined;
const listeners = new Set<() => void>();

function change(next: Asked | undefined): void {
  asked = next;
  for (const listener of [...listeners]) listener();
}

/** Asks before something that cannot be taken back. */
export function confirm(question: Question): Promise<boolean> {
  asked?.answer(false);
  return new Promise((resolve) => {
    change({
      ...question,
      answer: (yes) => {
        change(undefined);
        resolve(yes);
      },
    });
  });
}

/** Where questions appear; stands once in a window. */
export function ConfirmHost() {
  const question = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => asked,
  );
  if (!question) return null;
  return (
    <Modal
      title={question.title}
      onClose={() => question.answer(false)}
      actions={
        <>
          {/* What cannot be taken back is never one careless Enter away. */}
          <Button autoFocus={question.danger === true} onClick={() => question.answer(false)}>Cancel</Button>
          <Button look={question.danger ? "danger" : "primary"} autoFocus={question.danger !== true} onClick={() => question.answer(true)}>
            {question.action}
          </Button>
        </>
      }
    >
      <div className="dim selectable">{question.body}</div>
    </Modal>
  );
}
