import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { parseArgs } from 'node:util';
import { describeMachine } from './harness-machine.js';
import {
  markdownOf,
  type Outcome,
  type RowOutcome,
  type Sample,
  type TableOutcome,
} from './harness-report.js';

export type { Sample } from './harness-report.js';

/** One of those who are compared. Each call is one run, with everything started and ended that belongs to it. */
export interface Contender {
  readonly name: string;
  readonly measure: () => Promise<Sample>;
}

/** One line of a table: a task, ours first, then the others. */
export interface Row {
  readonly name: string;
  /** Of every sample's value: `MB/s`. */
  readonly unit: string;
  /** Default: false. */
  readonly isLowerBetter?: boolean;
  readonly contenders: readonly Contender[];
  /** Runs before the first sample of the row, and after the last. */
  readonly setUp?: () => Promise<void>;
  readonly tearDown?: () => Promise<void>;
}

export interface Table {
  /** Of the files in bench/results: `cold` for `cold.md` and `cold.json`. */
  readonly name: string;
  readonly title: string;
  readonly rows: readonly Row[];
  /** Program and version, for each of those who are compared. */
  readonly versions: Readonly<Record<string, string>>;
  /** Paragraphs below the table: what limits what. */
  readonly notes?: readonly string[];
}

export interface TableOptions {
  /** Default: 5. */
  readonly repeats: number;
  /** Rows whose name has none of these texts are left out. Default: all rows. */
  readonly only: readonly string[];
  /** Whether the results are kept in bench/results. Default: true, unless rows are left out. */
  readonly keeps: boolean;
  /** Rows that are not measured stay as they are in bench/results. Default: false. */
  readonly merges: boolean;
}

const DEFAULT_REPEATS = 5;
const RESULTS_FOLDER = join(import.meta.dirname, 'results');

/** Options that every table has, for `parseArgs` of node:util: `parseArgs({ options: { ...TABLE_OPTIONS, mine } })`. */
export const TABLE_OPTIONS = {
  repeats: { type: 'string' },
  only: { type: 'string', multiple: true },
  'no-results': { type: 'boolean' },
  merge: { type: 'boolean' },
} as const;

/** What of {@link TABLE_OPTIONS} was given. */
export function tableOptionsOf(
  values: ReturnType<typeof parseArgs<{ options: typeof TABLE_OPTIONS }>>['values'],
): TableOptions {
  const only = values.only ?? [];
  const repeats = Number(values.repeats ?? DEFAULT_REPEATS);
  if (!Number.isInteger(repeats) || repeats < 1)
    throw new Error('--repeats has to be a whole number from 1.');
  const merges = values.merge === true;
  return { repeats, only, keeps: values['no-results'] !== true && (merges || only.length === 0), merges };
}

/**
 * Measures a table: in each row the contenders take turns, so that what disturbs the machine disturbs all of them.
 * Progress goes to stderr, the table as Markdown to stdout, and both it and the samples to bench/results.
 */
export async function runTable(table: Table, options: TableOptions): Promise<TableOutcome> {
  const rows: RowOutcome[] = [];
  const before = options.merges ? keptRows(table.name) : [];
  for (const row of table.rows) {
    const isMeant = options.only.length === 0 || options.only.some((text) => row.name.includes(text));
    const kept = before.find((other) => other.row === row.name);
    if (isMeant) rows.push(await runRow(row, options.repeats));
    else if (kept !== undefined) rows.push(kept);
  }
  const outcome: TableOutcome = {
    title: table.title,
    command: ['npx tsx', ...process.argv.slice(1).map(relativeToHere)].join(' '),
    machine: describeMachine(),
    versions: table.versions,
    notes: table.notes ?? [],
    rows,
    measuredAt: new Date().toISOString(),
  };
  const markdown = markdownOf(outcome);
  process.stdout.write(`${markdown}\n`);
  if (options.keeps) {
    mkdirSync(RESULTS_FOLDER, { recursive: true });
    writeFileSync(join(RESULTS_FOLDER, `${table.name}.md`), markdown);
    writeFileSync(join(RESULTS_FOLDER, `${table.name}.json`), `${JSON.stringify(outcome, undefined, 1)}\n`);
  }
  return outcome;
}

async function runRow(row: Row, repeats: number): Promise<RowOutcome> {
  const runs = row.contenders.map((contender) => ({ contender, samples: [] as Sample[], failure: '' }));
  try {
    await row.setUp?.();
    for (let repeat = 0; repeat < repeats; repeat += 1) {
      for (const run of runs.filter(({ failure }) => failure === '')) {
        const { name, measure } = run.contender;
        try {
          const sample = await measure();
          run.samples.push(sample);
          process.stderr.write(`${row.name}: ${name}: ${sample.value.toPrecision(4)} ${row.unit}\n`);
        } catch (error) {
          run.failure = error instanceof Error ? error.message : String(error);
          process.stderr.write(`${row.name}: ${name}: ${run.failure}\n`);
        }
      }
    }
  } finally {
    await row.tearDown?.();
  }
  const outcomes = runs.map(({ contender, samples, failure }): Outcome => {
    return { contender: contender.name, samples, ...(failure === '' ? {} : { failure }) };
  });
  const measuredAt = new Date().toISOString();
  return { row: row.name, unit: row.unit, isLowerBetter: row.isLowerBetter ?? false, outcomes, measuredAt };
}

/** The rows that are in bench/results. */
function keptRows(name: string): readonly RowOutcome[] {
  const path = join(RESULTS_FOLDER, `${name}.json`);
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as TableOutcome).rows : [];
}

function relativeToHere(text: string): string {
  const root = `${join(import.meta.dirname, '..')}/`;
  return text.startsWith(root) ? text.slice(root.length) : text;
}
