import { describeFailure, type Ending } from './failure.js';
import { createProgram } from './program.js';

/**
 * Runs one command line to its end.
 *
 * @param args what follows the name of the program.
 * @returns how it ended; whatever goes wrong ends here, as a line and an exit status.
 */
export async function runCommandLine(args: readonly string[]): Promise<Ending> {
  try {
    await createProgram().parseAsync([...args], { from: 'user' });
    return { exitStatus: 0, line: undefined };
  } catch (error) {
    return describeFailure(error);
  }
}
