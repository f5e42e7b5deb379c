/** What one run of one contender gave. */
export interface Sample {
  /** In the unit of the row. */
  readonly value: number;
  /** Further figures by their headings, such as `CPU s/GiB`. */
  readonly extras?: Readonly<Record<string, number>>;
}

/** All runs of one contender in one row. */
export interface Outcome {
  readonly contender: string;
  /** Empty when it failed. */
  readonly samples: readonly Sample[];
  /** Why there are no more samples. */
  readonly failure?: string;
}

export interface RowOutcome {
  readonly row: string;
  readonly unit: string;
  readonly isLowerBetter: boolean;
  /** The first is ours, the others are what it is compared with. */
  readonly outcomes: readonly Outcome[];
  /** ISO 8601; of a table that is measured in parts each row has its own. */
  readonly measuredAt?: string;
}

export interface TableOutcome {
  readonly title: string;
  readonly command: string;
  readonly machine: readonly string[];
  readonly versions: Readonly<Record<string, string>>;
  readonly notes: readonly string[];
  readonly rows: readonly RowOutcome[];
  /** ISO 8601. */
  readonly measuredAt: string;
}

/** The middle one; the mean of the middle two of an even number. @throws when there is none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const low = sorted[Math.floor((sorted.length - 1) / 2)];
  const high = sorted[Math.floor(sorted.length / 2)];
  if (low === undefined || high === undefined) throw new Error('Cannot take the median of nothing.');
  return (low + high) / 2;
}

/** How many times better the first is than the other: above 1 is better, whichever way the unit goes. */
export function ratioOf(row: RowOutcome, other: Outcome): number | undefined {
  const [ours] = row.outcomes;
  if (ours === undefined || ours.samples.length === 0 || other.samples.length === 0) return undefined;
  const own = median(valuesOf(ours));
  const theirs = median(valuesOf(other));
  return row.isLowerBetter ? theirs / own : own / theirs;
}

/** The table as Markdown: a line for each contender of each row. */
export function markdownOf(table: TableOutcome): string {
  const headings = extraHeadings(table);
  const columns = ['row', 'what', 'median', 'min to max', 'runs', 'ours / it', ...headings];
  const lines = [
    `# ${table.title}`,
    '',
    `Measured ${timeOf(table)} with \`${table.command}\`.`,
    '',
    ...table.machine.map((line) => `- ${line}`),
    ...Object.entries(table.versions).map(([name, version]) => `- ${name}: ${version}`),
    '',
    `| ${columns.join(' | ')} |`,
    `|${columns.map(() => '---|').join('')}`,
    ...table.rows.flatMap((row) => row.outcomes.map((outcome) => line(row, outcome, headings))),
    '',
    '"ours / it" is how many times better the first line of a row is; above 1 it wins.',
    ...table.notes.map((note) => `\n${note}`),
    '',
  ];
  return lines.join('\n');
}

function timeOf({ rows, measuredAt }: TableOutcome): string {
  const times = rows.map((row) => row.measuredAt ?? measuredAt).sort();
  const isInParts = rows.length > 1 && times[0]?.slice(0, 13) !== times.at(-1)?.slice(0, 13);
  return isInParts ? `in parts from ${times[0]} to ${times.at(-1)}, last` : measuredAt;
}

function line(row: RowOutcome, outcome: Outcome, headings: readonly string[]): string {
  const isOurs = outcome === row.outcomes[0];
  const cells = [isOurs ? row.row : '', outcome.contender];
  if (outcome.samples.length === 0) {
    cells.push(outcome.failure ?? 'not measured', '', '0', '', ...headings.map(() => ''));
  } else {
    const values = valuesOf(outcome);
    const ratio = isOurs ? undefined : ratioOf(row, outcome);
    cells.push(`${figure(median(values))} ${row.unit}`);
    cells.push(`${figure(Math.min(...values))} to ${figure(Math.max(...values))}`, String(values.length));
    cells.push(ratio === undefined ? '' : ratio.toFixed(2));
    for (const heading of headings) {
      const extras = outcome.samples.flatMap(({ extras }) => extras?.[heading] ?? []);
      cells.push(extras.length === 0 ? '' : figure(median(extras)));
    }
  }
  return `| ${cells.join(' | ')} |`;
}

function extraHeadings(table: TableOutcome): readonly string[] {
  const samples = table.rows.flatMap(({ outcomes }) => outcomes.flatMap((outcome) => outcome.samples));
  return [...new Set(samples.flatMap(({ extras = {} }) => Object.keys(extras)))];
}

function valuesOf(outcome: Outcome): readonly number[] {
  return outcome.samples.map(({ value }) => value);
}

/** Three digits that mean something. */
function figure(value: number): string {
  if (value === 0) return '0';
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return Number(value.toPrecision(3)).toString();
}
