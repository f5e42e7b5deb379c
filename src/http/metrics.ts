import { collectDefaultMetrics, Registry, type Metric } from 'prom-client';
import { figureMetrics, type FigureMetric } from './figure-metrics.js';
import type { ServerFigures, StatusDocument } from './status-document.js';

/** The figures for Prometheus, read anew at each scrape; between scrapes they cost nothing. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #figures: ServerFigures;
  #status: StatusDocument;

  constructor(figures: ServerFigures) {
    this.#figures = figures;
    this.#status = figures.status();
    collectDefaultMetrics({ register: this.#registry });
    for (const metric of figureMetrics()) this.#add(metric);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The whole page, of one moment. */
  text(): Promise<string> {
    this.#status = this.#figures.status();
    return this.#registry.metrics();
  }

  close(): void {
    this.#registry.clear();
  }

  /** The library's own kinds of metric are counted up; these have their values somewhere else. */
  #add(figure: FigureMetric): void {
    const { name, help, type } = figure;
    const metric = {
      name,
      help,
      type,
      aggregator: 'sum',
      get: () => Promise.resolve({ name, help, type, aggregator: 'sum', values: figure.read(this.#status) }),
      reset: () => undefined,
    };
    this.#registry.registerMetric(metric as unknown as Metric);
  }
}
