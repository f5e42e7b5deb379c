#!/usr/bin/env node
import { writeSync } from 'node:fs';
import { messageOf, systemCodeOf } from '../util/errors.js';
import { ExitStatus } from './failure.js';
import { runCommandLine } from './run.js';

// A log line that cannot be written (a full disk, a terminal that has gone) is dropped: the disks live on.
process.stderr.on('error', () => undefined);

// Somebody may read only the first line of what is printed (`snapnbd serve ... | head -n 1`) and go away, which is no
// reason to stop serving either. Other failures lose what was asked for, and nothing else can be done then.
process.stdout.on('error', (error: Error) => {
  if (systemCodeOf(error) === 'EPIPE') return;
  try {
    writeSync(2, `snapnbd: Cannot write to standard output: ${messageOf(error)}.\n`);
  } finally {
    process.exit(ExitStatus.Failure);
  }
});

const ending = await runCommandLine(process.argv.slice(2));
if (ending.line !== undefined) process.stderr.write(`${ending.line}\n`);
process.exitCode = ending.exitStatus;
