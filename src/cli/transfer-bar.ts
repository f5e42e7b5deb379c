import type { MultiBar, SingleBar } from 'cli-progress';
import type { TransferProgress } from '../app/transfers/transfer-task.js';
import { formatBytes } from '../util/units.js';
import { RateMeter } from './rate-meter.js';

const BLOCK_BYTES = 512 * 1024;
const REDRAWS_PER_SECOND = 8;
const BAR_COLUMNS = 24;
/** Fewer columns than the text takes, and the bar would be wrapped at each redraw. */
const TEXT_COLUMNS = 96;

const STEP_TEXTS: Readonly<Record<TransferProgress['step'], string>> = {
  spool: 'keeping the image until its size is known',
  move: '',
  finish: 'bringing it to the disk',
  complete: 'waiting for AWS to complete it',
  readable: 'waiting until it can be read',
};

/** The part of a terminal stream that is looked at. */
export type BarTarget = NodeJS.WriteStream;

/** How far a transfer is, on one line of a terminal; nothing at all where there is none. */
export class TransferBar {
  readonly #target: BarTarget;
  readonly #bars: MultiBar | undefined;
  readonly #bar: SingleBar | undefined;
  readonly #rate = new RateMeter();
  #text = '';

  private constructor(target: BarTarget, bars: MultiBar | undefined) {
    this.#target = target;
    this.#bars = bars;
    this.#bar = bars?.create(1, 0);
  }

  /** @param target standard error. */
  static async on(target: BarTarget): Promise<TransferBar> {
    if (!target.isTTY) return new TransferBar(target, undefined);
    const { default: progress } = await import('cli-progress');
    const format = (
      _options: unknown,
      { progress: part }: { readonly progress: number },
      { text }: { readonly text?: string },
    ): string => `${barText(part, columnsOf(target))}${text ?? ''}`.slice(0, columnsOf(target) - 1);
    return new TransferBar(
      target,
      new progress.MultiBar({
        ...{ format, stream: target, fps: REDRAWS_PER_SECOND },
        ...{ clearOnComplete: true, hideCursor: false, gracefulExit: false },
      }),
    );
  }

  /** Somebody looks at it. */
  get isShown(): boolean {
    return this.#bar !== undefined;
  }

  show(progress: TransferProgress, usd: number): void {
    const { doneCount, totalCount } = progress;
    const bar = this.#bar;
    if (bar === undefined) return;
    this.#rate.add(performance.now(), doneCount);
    this.#text = textOf(progress, this.#rate.perSecond, usd);
    // It is drawn some times a second, whatever is said here.
    bar.setTotal(Math.max(1, totalCount ?? 0, doneCount));
    bar.update(totalCount === undefined ? 0 : doneCount, { text: this.#text });
  }

  /** Writes a line that stays, above the bar. */
  interrupt(line: string): void {
    if (this.#bars === undefined) this.#target.write(line);
    else this.#bars.log(line);
  }

  /** Takes the bar away. */
  stop(): void {
    this.#bars?.stop();
  }
}

/** A terminal that does not say how wide it is says 0. */
function columnsOf({ columns }: BarTarget): number {
  return columns > 0 ? columns : 80;
}

function barText(part: number, columns: number): string {
  if (columns < TEXT_COLUMNS) return '';
  const done = Math.round(Math.min(1, Math.max(0, part)) * BAR_COLUMNS);
  return `[${'='.repeat(done)}${' '.repeat(BAR_COLUMNS - done)}] `;
}

/** `45 % of 2048 blocks, 480/s, 240 MiB/s, 1:05 left, $0.0061` */
export function textOf(progress: TransferProgress, perSecond: number, usd: number): string {
  const { step, doneCount, totalCount, snapshotId } = progress;
  const cost = `$${usd.toFixed(4)}`;
  if (step !== 'move' && step !== 'spool') {
    return [snapshotId ?? '', STEP_TEXTS[step], cost].filter((part) => part !== '').join(', ');
  }
  const rate = `${perSecond.toFixed(0)}/s, ${formatBytes(Math.round(perSecond) * BLOCK_BYTES)}/s`;
  if (step === 'spool') return `${formatBytes(doneCount * BLOCK_BYTES)}, ${rate}, ${STEP_TEXTS.spool}`;
  if (totalCount === undefined) return `${doneCount} blocks, ${rate}, ${cost}`;
  const percent = totalCount === 0 ? 100 : Math.min(100, Math.floor((100 * doneCount) / totalCount));
  const left = perSecond > 0 ? `, ${durationText(Math.max(0, totalCount - doneCount) / perSecond)} left` : '';
  return `${percent} % of ${totalCount} blocks, ${rate}${left}, ${cost}`;
}

/** `0:05`, `12:30`, `3:05:00` */
export function durationText(seconds: number): string {
  const whole = Math.ceil(seconds);
  const two = (value: number): string => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours === 0 ? `${minutes}:${two(whole % 60)}` : `${hours}:${two(minutes)}:${two(whole % 60)}`;
}
