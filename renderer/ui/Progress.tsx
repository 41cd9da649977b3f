/** How far something is; a wandering light while that cannot be told. `value` is 0 to 1. */
export function Progress({ value, label }: { value: number | undefined; label: string }) {
  return (
    <div
      className={value === undefined ? "progress unknown" : "progress"}
      style={{ marginTop: 6 }}
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={value === undefined ? undefined : Math.round(value * 100)}
    >
      <i style={value === undefined ? undefined : { width: `${value * 100}%` }} />
    </div>
  );
}
