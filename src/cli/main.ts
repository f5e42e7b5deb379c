#!/usr/bin/env node
import { runCommandLine } from './run.js';

// Somebody may read only the first line of what is printed (`snapnbd serve ... | head -n 1`) and go away.
// That is no reason to stop serving a disk.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

const ending = await runCommandLine(process.argv.slice(2));
if (ending.line !== undefined) process.stderr.write(`${ending.line}\n`);
process.exitCode = ending.exitStatus;
