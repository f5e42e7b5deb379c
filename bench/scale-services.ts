import { compiledCli, startProgram, type Program } from './harness-process.js';

/** For clients of the emulator, which takes any. */
const CREDENTIALS = {
  AWS_ACCESS_KEY_ID: 'AKIAEMULATOR',
  AWS_SECRET_ACCESS_KEY: 'emulator',
  AWS_REGION: 'us-east-1',
  AWS_EC2_METADATA_DISABLED: 'true',
} as const;

/** GetSnapshotBlock and the two list operations in us-east-1: $0.003 and $0.0006 for 1000. */
const USD_PER_GET = 0.000_003;
const USD_PER_LIST = 0.000_000_6;

/** What an emulator was asked for. */
export interface ApiUse {
  readonly gets: number;
  /** Of both kinds. */
  readonly lists: number;
  /** Blocks that were got at least once. */
  readonly distinctBlocks: number;
  readonly usd: number;
}

/** An emulator of the EBS direct APIs in a process of its own. */
export interface Emulator {
  readonly url: string;
  /** Since the last call of it, or the start. */
  takeUse(): Promise<ApiUse>;
  stop(): Promise<void>;
}

/** Starts an emulator on a folder. */
export async function startEmulator(folder: string, options: readonly string[] = []): Promise<Emulator> {
  const args = ['emulator', 'serve', '--dir', folder, '--listen', '127.0.0.1:0', ...options];
  const program = startProgram(process.execPath, [compiledCli(), ...args]);
  const [line = ''] = await program.lines(1);
  const url = /http:\/\/[\d.]+:\d+/.exec(line)?.[0];
  if (url === undefined) throw new Error(`The emulator said "${line}".`);
  return {
    url,
    takeUse: async () => {
      const answer = await fetch(`${url}/_emulator/stats`);
      const stats = (await answer.json()) as Stats;
      await fetch(`${url}/_emulator/stats/reset`, { method: 'POST' });
      const gets = stats.operations.GetSnapshotBlock.requests;
      const { ListSnapshotBlocks, ListChangedBlocks } = stats.operations;
      const lists = ListSnapshotBlocks.requests + ListChangedBlocks.requests;
      const perSnapshot = Object.values(stats.snapshots);
      const distinctBlocks = perSnapshot.reduce(
        (sum, { distinctBlocksGot }) => sum + (distinctBlocksGot ?? 0),
        0,
      );
      return { gets, lists, distinctBlocks, usd: gets * USD_PER_GET + lists * USD_PER_LIST };
    },
    stop: () => program.stop(),
  };
}

interface Stats {
  readonly operations: Readonly<
    Record<'GetSnapshotBlock' | 'ListSnapshotBlocks' | 'ListChangedBlocks', { readonly requests: number }>
  >;
  readonly snapshots: Readonly<Record<string, { readonly distinctBlocksGot: number | null }>>;
}

/** A `snapnbd serve` that is ready. */
export interface Server {
  readonly program: Program;
  /** Of each export, in their order. */
  readonly uris: readonly string[];
  /** From the start of the process to the last of these lines. */
  readonly readyMs: number;
}

/** Starts `snapnbd serve` on a unix socket. */
export async function startServer(
  exports: readonly string[],
  socket: string,
  options: readonly string[] = [],
): Promise<Server> {
  const startMs = performance.now();
  const args = ['serve', ...exports, '--listen', `unix:${socket}`, ...options];
  const program = startProgram(process.execPath, [compiledCli(), ...args], CREDENTIALS);
  const uris = await program.lines(exports.length);
  return { program, uris, readyMs: performance.now() - startMs };
}
