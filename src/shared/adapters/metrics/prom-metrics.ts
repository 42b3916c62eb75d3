import { Counter, Gauge, Registry } from 'prom-client';
import { type MetricLabels, type MetricName, type Metrics, metricTable } from '../../ports/metrics.ts';

export interface PromMetrics extends Metrics {
  /** The Prometheus text format. */
  text(): Promise<string>;
}

interface Series {
  labels: Readonly<Record<string, string>>;
  value: number;
}

/**
 * The metric table as a Prometheus registry of its own, so that two nodes in one process do not mix. Each command counts
 * several times and is read seldom: the library is told the numbers when somebody asks for its text.
 */
export function createPromMetrics(): PromMetrics {
  const registry = new Registry();
  const known = new Map<string, Map<string, Series>>();
  for (const [name, { type, help, labels }] of Object.entries(metricTable)) {
    const series = new Map<string, Series>();
    known.set(name, series);
    const options = { name, help, labelNames: [...labels], registers: [] };
    const collect = (metric: Counter | Gauge): void => {
      metric.reset();
      for (const each of series.values()) metric.inc(each.labels, each.value);
    };
    const metric: Counter | Gauge = new (type === 'counter' ? Counter : Gauge)({ ...options, collect: () => collect(metric) });
    registry.registerMetric(metric);
  }
  const find = (name: MetricName, labels: Readonly<Record<string, string>>): { key: string; found: Series | undefined } => {
    let key = '';
    for (const label of metricTable[name].labels) key += `${labels[label] ?? ''}\n`;
    return { key, found: known.get(name)?.get(key) };
  };
  const seriesOf = (name: MetricName, labels: Readonly<Record<string, string>>): Series => {
    const { key, found } = find(name, labels);
    if (found !== undefined) return found;
    const series = { labels: { ...labels }, value: 0 };
    known.get(name)?.set(key, series);
    return series;
  };
  return {
    add<M extends MetricName>(name: M, labels: MetricLabels<M>, amount = 1) {
      seriesOf(name, labels).value += amount;
    },
    set<M extends MetricName>(name: M, labels: MetricLabels<M>, value: number) {
      seriesOf(name, labels).value = value;
    },
    read: (name, labels) => find(name, labels).found?.value ?? 0,
    text: () => registry.metrics(),
  };
}
