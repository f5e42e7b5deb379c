import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';

/** What is asked of a run. */
export interface FuzzOptions {
  /** Ends after so many seconds, or when `inputs` are through. */
  readonly seconds: number;
  readonly inputs: number;
  readonly seed: number;
  /** The number of the first input. */
  readonly first: number;
  readonly connections: number;
  /** Whether the server offers TLS; without it bytes come another way into it. */
  readonly isTls: boolean;
  readonly snapnbd: string | undefined;
  readonly record: boolean;
}

export const USAGE = `Usage: scripts/fuzz [--seconds N] [--inputs N] [--seed N] [--first N] [--connections N] [--tls on|off]
                    [--snapnbd MAIN.js]
       scripts/fuzz --record

Mutates recorded conversations of real NBD clients, and says each on a connection of its own to a live server, several
at a time. Meanwhile the server has to stay alive, complain of nothing, give a well-behaved client its bytes and nobody
else any of them, end each connection, and keep to its memory and descriptors. The exit status is 0 only then.

  --seconds N      ends after so many seconds (default: 60, unless there is --inputs)
  --inputs N       ends after so many inputs
  --seed N         of the inputs (default: one that nobody has tried; it is printed)
  --first N        number of the first input (default: 0): with the seed it makes an input again
  --connections N  at a time (default: 16)
  --tls on|off     whether the server offers TLS (default: on for even seeds, off for odd ones)
  --snapnbd FILE   the compiled cli/main.js to run (default: the sources, compiled)
  --record         records the conversations anew, with the real clients`;

/** Reads the arguments. @throws {Error} when there is something wrong with them. */
export function parseOptions(args: readonly string[]): FuzzOptions | 'help' {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: text,
      inputs: text,
      seed: text,
      first: text,
      connections: text,
      tls: text,
      snapnbd: text,
      record: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) return 'help';
  if (values.tls !== undefined && values.tls !== 'on' && values.tls !== 'off') {
    throw new Error(`cannot use "${values.tls}" for --tls: on or off is meant`);
  }
  const inputs = count('inputs', values.inputs, Number.MAX_SAFE_INTEGER);
  const seed = count('seed', values.seed, randomInt(2 ** 32));
  return {
    inputs,
    seconds: count('seconds', values.seconds, values.inputs === undefined ? 60 : Number.MAX_SAFE_INTEGER),
    seed,
    first: count('first', values.first, 0),
    connections: Math.max(1, Math.min(500, count('connections', values.connections, 16))),
    isTls: values.tls === undefined ? seed % 2 === 0 : values.tls === 'on',
    snapnbd: values.snapnbd,
    record: values.record === true,
  };
}

function count(name: string, value: string | undefined, otherwise: number): number {
  if (value === undefined) return otherwise;
  const number = Number(value);
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(number)) {
    throw new Error(`cannot use "${value}" for --${name}: a whole number is meant`);
  }
  return number;
}
