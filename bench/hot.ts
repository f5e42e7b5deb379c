/** Table 1: everything in memory, by fio's nbd engine. `npx tsx bench/hot.ts --help` says how. */
import { parseArgs } from 'node:util';
import { TABLE_OPTIONS, tableOptionsOf, runTable, type Row, type Sample } from './harness.js';
import { versionOf } from './harness-machine.js';
import { temporaryFolder } from './harness-process.js';
import { fioSample, type Workload } from './hot-fio.js';
import {
  makeDisk,
  startNbdkitFile,
  startNbdkitMemory,
  startNbdServer,
  startOurMemory,
  startOurSnapshot,
  startQemuNbd,
  Transport,
  type HotServer,
  type StartServer,
} from './hot-servers.js';

const HELP = `Usage: npx tsx bench/hot.ts [--repeats N] [--seconds N] [--only TEXT]... [--merge] [--no-results]

Needs fio, nbdkit, qemu-nbd and nbd-server; those that are missing are left out. --only "unix, 1 connection" takes
the rows whose name has this text; with --merge the others stay as they are in bench/results. All of it takes about half an hour with the default of 5 repeats of 3 seconds.`;

/** The readers serve 256 MiB of random bytes: more than any cache of the processor. */
const DISK_MIB = 256;
const DEFAULT_SECONDS = 3;

const WORKLOADS: readonly Workload[] = [
  { name: '4 KiB random read, depth 1', rw: 'randread', blockBytes: 4096, depth: 1 },
  { name: '4 KiB random read, depth 32', rw: 'randread', blockBytes: 4096, depth: 32 },
  { name: '256 KiB sequential read, depth 8', rw: 'read', blockBytes: 262_144, depth: 8 },
  { name: '4 KiB random write, depth 32', rw: 'randwrite', blockBytes: 4096, depth: 32 },
  { name: '256 KiB sequential write, depth 8', rw: 'write', blockBytes: 262_144, depth: 8 },
];

const READERS: Readonly<Record<string, StartServer>> = {
  'snapnbd, snapshot in its cache': startOurSnapshot,
  'nbdkit file': startNbdkitFile,
  'nbdkit memory': startNbdkitMemory,
  'qemu-nbd': startQemuNbd,
  'nbd-server': startNbdServer,
};

const WRITERS: Readonly<Record<string, StartServer>> = {
  'snapnbd memory': startOurMemory,
  'nbdkit memory': startNbdkitMemory,
};

const { values } = parseArgs({
  options: { ...TABLE_OPTIONS, seconds: { type: 'string' }, help: { type: 'boolean' } },
});
if (values.help === true) {
  process.stdout.write(`${HELP}\n`);
} else {
  const seconds = Number(values.seconds ?? DEFAULT_SECONDS);
  const folder = temporaryFolder();
  try {
    const disk = makeDisk(folder.path, DISK_MIB);
    await runTable(
      {
        name: 'hot',
        title: 'Hot: everything in memory',
        rows: [Transport.Unix, Transport.Tcp].flatMap((transport) =>
          [1, 4].flatMap((connections) =>
            WORKLOADS.map((workload) => rowOf(workload, transport, connections, { disk, seconds })),
          ),
        ),
        versions: {
          fio: versionOf('fio') ?? 'missing',
          nbdkit: versionOf('nbdkit') ?? 'missing',
          'qemu-nbd': versionOf('qemu-nbd') ?? 'missing',
          'nbd-server': versionOf('nbd-server', ['-V']) ?? 'missing',
        },
        notes: [
          'The client and the server share the cores. "server µs" is the CPU time of the server for each request.',
        ],
      },
      tableOptionsOf(values),
    );
  } finally {
    folder.remove();
  }
}

/** One workload over one transport: every server runs for the whole row, and they take turns at being asked. */
function rowOf(
  workload: Workload,
  transport: Transport,
  connections: number,
  { disk, seconds }: { disk: string; seconds: number },
): Row {
  const starts = workload.rw.endsWith('read') ? READERS : WRITERS;
  const servers = new Map<string, HotServer>();
  const many = connections === 1 ? '1 connection' : `${connections} connections`;
  return {
    name: `${workload.name}, ${transport}, ${many}`,
    unit: workload.blockBytes > 65_536 ? 'MB/s' : 'requests/s',
    contenders: Object.entries(starts).map(([name, start]) => ({
      name,
      measure: async (): Promise<Sample> => {
        const server = servers.get(name) ?? (await start(disk, transport));
        servers.set(name, server);
        return fioSample(server, workload, { connections, seconds, diskMib: DISK_MIB });
      },
    })),
    tearDown: async () => {
      for (const server of servers.values()) await server.stop();
      servers.clear();
    },
  };
}
