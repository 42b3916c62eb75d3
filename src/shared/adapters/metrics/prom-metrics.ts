import { Counter, Gauge, Registry } from 'prom-client';
import { type MetricLabels, type MetricName, type Metrics, metricTable } from '../../ports/metrics.ts';

export interface PromMetrics extends Metrics {
  /** The Prometheus text format. */
  text(): Promise<string>;
}

/** The metric table as a Prometheus registry of its own, so that two nodes in one process do not mix. */
export function createPromMetrics(): PromMetrics {
  const registry = new Registry();
  const counters = new Map<string, Counter>();
  const gauges = new Map<string, Gauge>();
  const values = new Map<string, number>();
  for (const [name, { type, help, labels }] of Object.entries(metricTable)) {
    const options = { name, help, labelNames: [...labels], registers: [registry] };
    if (type === 'counter') counters.set(name, new Counter(options));
    else gauges.set(name, new Gauge(options));
  }
  const key = (name: MetricName, labels: Readonly<Record<string, string>>): string => {
    let text: string = name;
    for (const label of metricTable[name].labels) text += `,${labels[label] ?? ''}`;
    return text;
  };
  return {
    add<M extends MetricName>(name: M, labels: MetricLabels<M>, amount = 1) {
      counters.get(name)?.inc(labels, amount);
      const id = key(name, labels);
      values.set(id, (values.get(id) ?? 0) + amount);
    },
    set<M extends MetricName>(name: M, labels: MetricLabels<M>, value: number) {
      gauges.get(name)?.set(labels, value);
      values.set(key(name, labels), value);
    },
    read: (name, labels) => values.get(key(name, labels)) ?? 0,
    text: () => registry.metrics(),
  };
}
