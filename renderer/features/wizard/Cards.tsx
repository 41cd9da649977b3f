import type { Icon } from "@phosphor-icons/react";
import { useId } from "react";

export interface CardChoice<T extends string> {
  readonly value: T;
  readonly title: string;
  readonly detail: string;
  readonly icon: Icon;
}

/** A choice of one among cards: radio buttons underneath, so that arrows move between them. */
export function Cards<T extends string>({ label, choices, value, onChoose }: { label: string; choices: readonly CardChoice<T>[]; value: T; onChoose(value: T): void }) {
  const name = useId();
  return (
    <div className="cards" role="radiogroup" aria-label={label}>
      {choices.map(({ value: choice, title, detail, icon: Drawing }) => {
        const detailId = `${name}-${choice}`;
        return (
          <label key={choice} className={choice === value ? "card selected" : "card"}>
            <input type="radio" name={name} value={choice} checked={choice === value} aria-label={title} aria-describedby={detailId} onChange={() => onChoose(choice)} />
            <Drawing className="ic l" aria-hidden />
            <span className="row" style={{ gap: 8 }}>
              <span className="mark" />
              <b>{title}</b>
            </span>
            <span id={detailId} className="xs dim" style={{ marginLeft: 24, lineHeight: "15px" }}>
              {detail}
            </span>
          </label>
        );
      })}
    </div>
  );
}
