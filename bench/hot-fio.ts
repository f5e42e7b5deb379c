import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Sample } from './harness.js';
import type { HotServer } from './hot-servers.js';

/** What fio is asked to do. */
export interface Workload {
  readonly name: string;
  readonly rw: 'randread' | 'read' | 'randwrite' | 'write';
  readonly blockBytes: number;
  /** Requests in flight on each connection. */
  readonly depth: number;
}

interface FioDirection {
  readonly iops: number;
  readonly bw_bytes: number;
  readonly total_ios: number;
}

/** Runs fio against a server. @returns requests/s, or MB/s for large requests. */
export async function fioSample(
  server: HotServer,
  workload: Workload,
  { connections, seconds, diskMib }: { connections: number; seconds: number; diskMib: number },
): Promise<Sample> {
  const before = server.cpuSeconds();
  const { stdout } = await promisify(execFile)('fio', [
    ...[
      '--name=hot',
      '--ioengine=nbd',
      `--uri=${server.uri}`,
      `--rw=${workload.rw}`,
      `--bs=${workload.blockBytes}`,
    ],
    ...[
      `--iodepth=${workload.depth}`,
      `--size=${diskMib}m`,
      '--norandommap',
      '--time_based',
      `--runtime=${seconds}`,
    ],
    ...[
      `--numjobs=${connections}`,
      '--thread',
      '--group_reporting',
      '--randrepeat=0',
      '--output-format=json',
    ],
  ]);
  const cpuSeconds = server.cpuSeconds() - before;
  // fio writes what it has to say in front of the JSON.
  const report = JSON.parse(stdout.slice(stdout.indexOf('{'))) as {
    jobs: [{ read: FioDirection; write: FioDirection }];
  };
  const [{ read, write }] = report.jobs;
  const done = workload.rw.endsWith('read') ? read : write;
  return {
    value: workload.blockBytes > 65_536 ? done.bw_bytes / 1e6 : done.iops,
    extras: { 'server µs': (cpuSeconds * 1e6) / done.total_ios },
  };
}
