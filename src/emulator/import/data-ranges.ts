import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { messageOf } from '../../util/errors.js';
import type { Logger } from '../../util/logger.js';

/** A part of a file that may hold something else than zeros. */
export interface DataRange {
  readonly start: number;
  readonly end: number;
}

interface Helper {
  readonly program: string;
  readonly args: readonly string[];
}

// Node.js has no lseek. These ask for SEEK_DATA (3) and SEEK_HOLE (4) on the descriptor that they get as their
// standard input, and print one range a line; ENXIO (6) means that no data follows.
const HELPERS: readonly Helper[] = [
  {
    program: 'perl',
    args: [
      '-e',
      '$p=0;while(defined($d=sysseek(STDIN,$p,3))){$d+=0;$p=sysseek(STDIN,$d,4);defined $p or exit 1;' +
        '$p+=0;print "$d $p\\n"}exit($!==6?0:1)',
    ],
  },
  {
    program: 'python3',
    args: [
      '-c',
      'import os,sys\np=0\nwhile True:\n try: d=os.lseek(0,p,3)\n' +
        ' except OSError as e: sys.exit(0 if e.errno==6 else 1)\n' +
        ' p=os.lseek(0,d,4)\n print(d,p)',
    ],
  },
];

/**
 * The ranges of a file that are not holes, ascending and apart. What cannot be asked for is taken for data: then
 * more is read than need be, and nothing else changes.
 *
 * Only Linux numbers these two questions so; elsewhere the whole file is data.
 *
 * @param fd an open file, whose position will move.
 * @param sizeBytes its length.
 */
export async function* dataRanges(fd: number, sizeBytes: number, logger: Logger): AsyncGenerator<DataRange> {
  let position = 0;
  const helpers = process.platform === 'linux' ? HELPERS : [];
  for (const helper of helpers) {
    try {
      for await (const range of ask(helper, fd, position, sizeBytes)) {
        yield range;
        position = range.end;
      }
      return;
    } catch (error) {
      if (!(error instanceof HelperError)) throw error;
      logger.debug('Cannot ask for the holes of an image', {
        program: helper.program,
        reason: messageOf(error),
      });
    }
  }
  if (position < sizeBytes) yield { start: position, end: sizeBytes };
}

class HelperError extends Error {
  override readonly name = 'HelperError';
}

async function* ask(helper: Helper, fd: number, from: number, sizeBytes: number): AsyncGenerator<DataRange> {
  const child = spawn(helper.program, helper.args, { stdio: [fd, 'pipe', 'ignore'] });
  const exited = exitOf(child);
  let position = from;
  try {
    for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
      const [start, end] = line.split(' ').map(Number);
      if (start === undefined || end === undefined || !(start < end) || !Number.isSafeInteger(end))
        throw new HelperError(`it printed "${line.slice(0, 60)}"`);
      // A second helper begins at the start again, and the file may have grown meanwhile.
      const range = { start: Math.max(start, position), end: Math.min(end, sizeBytes) };
      if (range.start < range.end) {
        yield range;
        position = range.end;
      }
    }
    const failure = await exited;
    if (failure !== undefined) throw new HelperError(failure);
  } finally {
    child.kill();
  }
}

/** Undefined when the program ended well, else why not. */
function exitOf(child: ChildProcess): Promise<string | undefined> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(messageOf(error)));
    child.once('close', (code) => resolve(code === 0 ? undefined : `it ended with status ${code}`));
  });
}
