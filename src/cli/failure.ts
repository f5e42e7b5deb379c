import { CommanderError } from 'commander';
import { SnapnbdError, UsageError, messageOf } from '../util/errors.js';
import { ReaderGoneError } from './printing.js';

/** The exit statuses of every command. */
export const ExitStatus = { Ok: 0, Failure: 1, Usage: 2 } as const;
export type ExitStatus = (typeof ExitStatus)[keyof typeof ExitStatus];

/** How a command line ends. */
export interface Ending {
  readonly exitStatus: ExitStatus;
  /** What is left to say on stderr; undefined where there is nothing. */
  readonly line: string | undefined;
}

/**
 * Turns what a command threw into its last line and its exit status: 2 for mistakes in how it was called, 1 for
 * everything else. What is not meant for users is a defect, and keeps its stack trace.
 */
export function describeFailure(thrown: unknown): Ending {
  if (thrown instanceof CommanderError) {
    if (thrown.exitCode === 0) return { exitStatus: ExitStatus.Ok, line: undefined };
    // Without a command, commander has already printed the help.
    if (thrown.code === 'commander.help') return { exitStatus: ExitStatus.Usage, line: undefined };
    return { exitStatus: ExitStatus.Usage, line: `snapnbd: ${usageLine(thrown)}` };
  }
  if (thrown instanceof ReaderGoneError) return { exitStatus: ExitStatus.Ok, line: undefined };
  if (thrown instanceof UsageError)
    return { exitStatus: ExitStatus.Usage, line: `snapnbd: ${messageOf(thrown)}` };
  if (thrown instanceof SnapnbdError)
    return { exitStatus: ExitStatus.Failure, line: `snapnbd: ${messageOf(thrown)}` };
  const text = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  return { exitStatus: ExitStatus.Failure, line: `snapnbd: unexpected error, please report it: ${text}` };
}

/** `error: unknown option '--x'\n(Did you mean --y?)` as one sentence with what to do. */
function usageLine(error: CommanderError): string {
  const text = messageOf(error).replace(/^error: /, '');
  const sentence = text.charAt(0).toUpperCase() + text.slice(1);
  return `${sentence.replace(/[.]?$/, '.')} Run "snapnbd --help" or "snapnbd COMMAND --help" for what there is.`;
}
