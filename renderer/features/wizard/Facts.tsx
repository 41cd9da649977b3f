/** Terms and what they are, in two columns. */
export function Facts({ list }: { list: readonly (readonly [string, string])[] }) {
  return (
    <dl className="kv">
      {list.map(([term, value]) => (
        <div key={term} style={{ display: "contents" }}>
          <dt>{term}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
