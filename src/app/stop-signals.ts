import type { Logger } from '../util/logger.js';

/** The part of `process` that is needed here. */
export interface SignalSource {
  on(signal: 'SIGINT' | 'SIGTERM', listener: (signal: NodeJS.Signals) => void): unknown;
  off(signal: 'SIGINT' | 'SIGTERM', listener: (signal: NodeJS.Signals) => void): unknown;
  exit(code: number): unknown;
}

/** What a user who presses Ctrl-C, or a service manager, wants. */
export interface StopSignals {
  /** Aborts at the first SIGTERM or SIGINT. */
  readonly signal: AbortSignal;
  /** Stops listening for signals. */
  dispose(): void;
}

const SIGNAL_NUMBERS: Readonly<Partial<Record<NodeJS.Signals, number>>> = { SIGINT: 2, SIGTERM: 15 };

/**
 * Listens for SIGTERM and SIGINT: the first asks for an orderly end, the second ends the process at once, with the
 * status that shells give to a process killed by that signal.
 */
export function watchStopSignals(source: SignalSource, logger: Logger): StopSignals {
  const controller = new AbortController();
  const listener = (signal: NodeJS.Signals): void => {
    if (controller.signal.aborted) {
      source.exit(128 + (SIGNAL_NUMBERS[signal] ?? 0));
      return;
    }
    logger.info('stopping: finishing what is in flight; a second signal ends at once', { signal });
    controller.abort();
  };
  source.on('SIGINT', listener);
  source.on('SIGTERM', listener);
  return {
    signal: controller.signal,
    dispose: () => {
      source.off('SIGINT', listener);
      source.off('SIGTERM', listener);
    },
  };
}
