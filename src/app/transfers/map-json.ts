import type { FoundRange, FoundRun } from '../../transfer/found-ranges.js';
import { writeRanges, type MappedVolume, type MapTask, type RangeWriter } from './mapping.js';

/** Takes text, and resolves when there is room for more. */
export type WriteText = (text: string) => Promise<void>;

/**
 * Writes one JSON object with all ranges of a snapshot in bytes, as they are listed: `data`, and with another snapshot to
 * compare with `changed`, whose ranges have a `kind`: changed, added or zeroed.
 *
 * @throws {EbsError}, {EnvironmentError} in one line; what was written by then is no whole object.
 */
export async function writeMapJson(task: MapTask, write: WriteText): Promise<void> {
  await writeRanges(task, new JsonWriter(task, write));
}

class JsonWriter implements RangeWriter {
  readonly #task: MapTask;
  readonly #write: WriteText;
  #blockBytes = 0;
  /** Of the list that is being written. */
  #blocks = 0;
  #isComparison = false;
  /** The last run, which the next page may continue. */
  #open: FoundRun | undefined;
  #separator = '\n';

  constructor(task: MapTask, write: WriteText) {
    this.#task = task;
    this.#write = write;
  }

  async begin({ sizeBytes, blockBytes }: MappedVolume): Promise<void> {
    this.#blockBytes = blockBytes;
    const { snapshotId, againstSnapshotId = null } = this.#task;
    const head = JSON.stringify({ snapshotId, againstSnapshotId, sizeBytes, blockBytes });
    await this.#write(`${head.slice(0, -1)},\n"data":[`);
  }

  async range({ runs }: FoundRange, isComparison: boolean): Promise<void> {
    let text = '';
    if (isComparison && !this.#isComparison) {
      text = `${this.#endList()}\n"changed":[`;
      this.#isComparison = true;
    }
    for (const run of runs) text += this.#add(run);
    if (text !== '') await this.#write(text);
  }

  async end(usage: { readonly listCallCount: number; readonly costUsd: number }): Promise<void> {
    await this.#write(`${this.#endList()}\n${JSON.stringify(usage).slice(1)}\n`);
  }

  #add(run: FoundRun): string {
    this.#blocks += run.endBlock - run.firstBlock;
    const open = this.#open;
    if (open?.endBlock === run.firstBlock && open.kind === run.kind) {
      this.#open = { ...open, endBlock: run.endBlock };
      return '';
    }
    const text = this.#textOf(open);
    this.#open = run;
    return text;
  }

  #textOf(run: FoundRun | undefined): string {
    if (run === undefined) return '';
    const startBytes = run.firstBlock * this.#blockBytes;
    const lengthBytes = (run.endBlock - run.firstBlock) * this.#blockBytes;
    const range = { startBytes, lengthBytes, ...(this.#isComparison ? { kind: run.kind } : {}) };
    const text = `${this.#separator}${JSON.stringify(range)}`;
    this.#separator = ',\n';
    return text;
  }

  #endList(): string {
    const name = this.#isComparison ? 'changedBytes' : 'dataBytes';
    const text = `${this.#textOf(this.#open)}],\n"${name}":${this.#blocks * this.#blockBytes},`;
    this.#open = undefined;
    this.#blocks = 0;
    this.#separator = '\n';
    return text;
  }
}
