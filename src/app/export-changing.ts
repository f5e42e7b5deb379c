import { EnvironmentError } from '../util/errors.js';
import type { ExportRegistry, RegisteredExport } from './export-registry.js';
import type { ExportSpec } from './export-spec.js';

/** What became of the exports of a running server. */
export interface ExportChanges {
  readonly added: readonly string[];
  /** New clients get the new one; those that are connected keep what they have. */
  readonly replaced: readonly string[];
  /** No new clients; those that are connected keep what they have. */
  readonly removed: readonly string[];
  /** Disks that can be written and are to be something else: they stay as they are until the server is started again. */
  readonly needRestart: readonly string[];
}

/** The exports of a server that runs, changed one list at a time. */
export class ExportChanger {
  readonly #registry: ExportRegistry;
  readonly #open: (specs: readonly ExportSpec[]) => Promise<readonly RegisteredExport[]>;
  readonly #canReadSnapshots: boolean;
  #specs: ReadonlyMap<string, ExportSpec>;

  /**
   * @param specs what the registry has.
   * @param canReadSnapshots false where the server was started without a way to EBS.
   * @param open opens all, or none.
   */
  constructor(
    registry: ExportRegistry,
    specs: readonly ExportSpec[],
    canReadSnapshots: boolean,
    open: (specs: readonly ExportSpec[]) => Promise<readonly RegisteredExport[]>,
  ) {
    this.#registry = registry;
    this.#specs = byName(specs);
    this.#canReadSnapshots = canReadSnapshots;
    this.#open = open;
  }

  /**
   * Opens what is new, then changes the list. What is the same goes on untouched. Not to be called again before it has
   * settled.
   *
   * @throws what opening throws; then nothing has changed.
   */
  async change(specs: readonly ExportSpec[]): Promise<ExportChanges> {
    const before = this.#specs;
    const isSame = (spec: ExportSpec): boolean => textOf(spec) === textOf(before.get(spec.name));
    const needRestart = specs.filter((spec) => !isSame(spec) && isWritable(before.get(spec.name)));
    const fresh = specs.filter((spec) => !isSame(spec) && !needRestart.includes(spec));
    if (!this.#canReadSnapshots && fresh.some(({ source }) => source.kind !== 'memory')) {
      throw new EnvironmentError(
        'Cannot add a snapshot: this server was started without any, and has no connection to AWS. Start it again.',
      );
    }
    const opened = new Map((await this.#open(fresh)).map((entry) => [entry.name, entry]));
    const current = new Map(this.#registry.exports.map((entry) => [entry.name, entry]));
    const exports = specs.flatMap(({ name }) => opened.get(name) ?? current.get(name) ?? []);
    await this.#registry.replace(exports);
    const stays = new Set(needRestart);
    this.#specs = byName(specs.map((spec) => (stays.has(spec) ? (before.get(spec.name) ?? spec) : spec)));
    const names = namesOf(specs);
    return {
      added: namesOf(fresh).filter((name) => !before.has(name)),
      replaced: namesOf(fresh).filter((name) => before.has(name)),
      removed: [...before.keys()].filter((name) => !names.includes(name)),
      needRestart: namesOf(needRestart),
    };
  }
}

function byName(specs: readonly ExportSpec[]): ReadonlyMap<string, ExportSpec> {
  return new Map(specs.map((spec) => [spec.name, spec]));
}

function namesOf(specs: readonly ExportSpec[]): string[] {
  return specs.map(({ name }) => name);
}

function isWritable(spec: ExportSpec | undefined): boolean {
  return spec?.source.kind === 'fork' || spec?.source.kind === 'blank';
}

function textOf(spec: ExportSpec | undefined): string {
  return spec === undefined ? '' : JSON.stringify(spec);
}
