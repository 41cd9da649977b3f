import Tooltip from "@mui/material/Tooltip";
import type { Icon } from "@phosphor-icons/react";
import { forwardRef, type ButtonHTMLAttributes, type ReactNode } from "react";

export interface ButtonProps extends Omit<ButtonHTMLAttributes<HTMLButtonElement>, "disabled" | "title"> {
  /** Plain by default; `primary` is filled and stands once per view; `quiet` has no edge; `danger` is outlined. */
  look?: "plain" | "primary" | "quiet" | "danger";
  small?: boolean;
  icon?: Icon;
  /** Filled drawing of the icon, for play only. */
  iconFilled?: boolean;
  /** Why it cannot be pressed now. It stays focusable, so that the reason can be read. */
  refused?: string | undefined;
  /** Shown on hover when the button is not refused. */
  tip?: ReactNode;
  /** Behind the words: a caret, a key. */
  end?: ReactNode;
}

const looks = { plain: "btn", primary: "btn pri", quiet: "btn q", danger: "btn dan" } as const;

/** A button of Terrarium. With an icon and no children it needs an `aria-label`, which is its tip as well. */
export const Button = forwardRef<HTMLButtonElement, ButtonProps>(function Button(
  { look = "plain", small = false, icon: Drawing, iconFilled = false, refused, tip, end, className, children, onClick, type = "button", ...rest },
  ref,
) {
  const iconOnly = children === undefined;
  const classes = [looks[look], small && "sm", iconOnly && "icn", className].filter(Boolean).join(" ");
  const button = (
    <button
      {...rest}
      ref={ref}
      type={type}
      className={classes}
      aria-disabled={refused !== undefined || undefined}
      onClick={refused === undefined ? onClick : (event) => event.preventDefault()}
    >
      {Drawing && <Drawing className={small ? "ic xs" : "ic"} weight={iconFilled ? "fill" : "regular"} aria-hidden />}
      {children}
      {end}
    </button>
  );
  const title = refused ?? tip ?? (iconOnly ? rest["aria-label"] : undefined);
  return title === undefined ? button : <Tooltip title={title} describeChild={refused !== undefined || !iconOnly}>{button}</Tooltip>;
});
