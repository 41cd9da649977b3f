import { useEffect, useState } from "react";
import { usageIntervalMs, type MachineInfo, type UsageReport, type UsageSample } from "../../../core/contract/model";
import { isLive } from "../../../core/contract/states";
import { call } from "../../api/client";
import { chartsOf, linePath, noHistory, withReport, type Chart } from "./usageHistory";
import "./usage.css";

const width = 158;
const height = 92;
const colours = ["var(--leaf)", "var(--n-nat)"] as const;

/** What a running machine uses, for the last five minutes. */
export function UsageCharts({ machine }: { machine: MachineInfo }) {
  const live = isLive(machine.state) && machine.startedAt !== undefined;
  if (!live || !machine.config) return null;
  return <LiveCharts key={`${machine.id} ${machine.startedAt}`} id={machine.id} cpus={machine.config.cpus} memoryMiB={machine.config.memoryMiB} />;
}

function LiveCharts({ id, cpus, memoryMiB }: { id: string; cpus: number; memoryMiB: number }) {
  const history = useUsage(id);
  return (
    <section className="usage" aria-label="Usage in the last five minutes">
      <div className="usage-charts">
        {chartsOf(history, { cpus, memoryMiB }).map((chart) => (
          <ChartView key={chart.title} chart={chart} samples={history.samples} />
        ))}
      </div>
    </section>
  );
}

function ChartView({ chart, samples }: { chart: Chart; samples: readonly UsageSample[] }) {
  const { title, value, of, second, lines, top, description, absent } = chart;
  const drawn = lines.map((series) => linePath(samples, series, top, width, height));
  return (
    <figure className="usage-chart">
      <figcaption>
        <h2 className="h3">{title}</h2>
        <p className="usage-now num">
          <b>{value}</b>
          <span className="xs faint">
            {absent === undefined ? of : "not known"}
            {absent === undefined && second !== undefined && (
              <>
                , <i className="usage-mark" aria-hidden="true" />
                {second}
              </>
            )}
          </span>
        </p>
      </figcaption>
      <svg role="img" aria-label={description} viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none">
        <title>{absent ?? description}</title>
        <path className="usage-grid" d={`M0 .5H${width}M0 30.5H${width}M0 61.5H${width}`} />
        <path className="usage-ground" d={`M0 ${height}H${width}`} />
        {drawn[0] && <path d={drawn[0].area} fill={colours[0]} opacity=".11" />}
        {drawn.map(({ line, end }, index) => (
          <g key={lines[index]?.name} stroke={colours[index]} className={index === 0 ? "usage-line" : "usage-line second"}>
            <path d={line} />
            {/* A line without length has a round end: a dot that stays round however wide the chart is. */}
            {end && <path className="usage-end" d={`M${end.x} ${end.y}h0`} />}
          </g>
        ))}
      </svg>
      {absent === undefined ? (
        <div className="usage-ends xs faint" aria-hidden="true">
          <span>5 min ago</span>
          <span>now</span>
        </div>
      ) : (
        <p className="usage-absent xs faint">{absent}</p>
      )}
    </figure>
  );
}

/** Asks while the window can be seen; that alone keeps the machine measured. */
function useUsage(id: string): UsageReport {
  const [history, setHistory] = useState(noHistory);
  useEffect(() => {
    let current = true;
    let known = noHistory;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let asking = false;
    const ask = async (): Promise<void> => {
      if (asking || document.hidden) return;
      asking = true;
      clearTimeout(timer);
      try {
        const report = await call("machine.usage", { id, since: known.samples.at(-1)?.at });
        known = withReport(known, report);
        if (current) setHistory(known);
      } catch (error) {
        // The machine may end between the question and the answer; the page then shows no charts.
        console.debug(`no usage of machine ${id}:`, error);
      }
      asking = false;
      if (current) timer = setTimeout(() => void ask(), usageIntervalMs);
    };
    const seen = (): void => void ask();
    document.addEventListener("visibilitychange", seen);
    void ask();
    return () => {
      current = false;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, [id]);
  return history;
}
