/** Table 5: from the start of the process to the line that says it is ready. `npx tsx bench/start-up.ts --help`. */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createSynth } from '../src/emulator/synth/create-synth.js';
import { runTable, TABLE_OPTIONS, tableOptionsOf, type Sample } from './harness.js';
import { runProgram, temporaryFolder } from './harness-process.js';
import { startEmulator, startServer } from './scale-services.js';

const HELP = `Usage: npx tsx bench/start-up.ts [--repeats N] [--only TEXT]... [--no-results]

Needs no other program. Takes some seconds for each repeat.`;

const { values } = parseArgs({ options: { ...TABLE_OPTIONS, help: { type: 'boolean' } } });
if (values.help === true) {
  process.stdout.write(`${HELP}\n`);
} else {
  const folder = temporaryFolder();
  const store = join(folder.path, 'emulator');
  const ids = await Promise.all(
    [1, 65_536].map((volumeSizeGib) => createSynth({ dir: store, volumeSizeGib, fill: 1 })),
  );
  const emulator = await startEmulator(store);
  const serve = async (exportText: string, options: readonly string[]): Promise<Sample> => {
    const server = await startServer([exportText], join(folder.path, 's'), options);
    await server.program.stop();
    return { value: server.readyMs };
  };
  const bare = {
    name: 'node, an empty program',
    measure: async () => ({ value: (await runProgram(process.execPath, ['-e', '0'])).wallSeconds * 1000 }),
  };
  const rowOf = (name: string, exportText: string, options: readonly string[] = []) => ({
    name,
    unit: 'ms to ready',
    isLowerBetter: true,
    contenders: [{ name: 'snapnbd serve', measure: () => serve(exportText, options) }, bare],
  });
  const toEmulator = ['--endpoint-url', emulator.url];
  try {
    await runTable(
      {
        name: 'start-up',
        title: 'Start-up: to the line that says it is ready',
        rows: [
          rowOf('a disk in memory', 'a=memory:1GiB'),
          rowOf('a full snapshot of 1 GiB', ids[0] ?? '', toEmulator),
          rowOf('a full snapshot of 64 TiB', ids[1] ?? '', toEmulator),
        ],
        versions: { node: process.version },
        notes: ['A snapshot is opened by one ListSnapshotBlocks of 10,000 blocks, whatever its size.'],
      },
      tableOptionsOf(values),
    );
  } finally {
    await emulator.stop();
    folder.remove();
  }
}
