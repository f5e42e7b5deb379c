import { Command, Option } from 'commander';
import { parseListenAddress } from './emulator-values.js';
import { importCommand, listCommand, synthCommand } from './emulator-snapshots.js';

const DEFAULT_LISTEN = '127.0.0.1:4599';

/** `snapnbd emulator`: the embedded emulator of the EBS direct APIs, and the snapshots in its folder. */
export function emulatorCommand(): Command {
  return new Command('emulator')
    .description('emulate the EBS direct APIs on a folder: for trying out, tests and benchmarks')
    .addCommand(serveCommand())
    .addCommand(importCommand())
    .addCommand(listCommand())
    .addCommand(synthCommand());
}

/** The faults and speeds that `serve` knows: the option, what it takes, and what it does. */
const FAULT_OPTIONS: readonly (readonly [flag: string, value: string, description: string])[] = [
  ['--latency-ms', 'MS', 'answer this much later, however many requests are under way'],
  ['--get-rate', 'N', 'GetSnapshotBlock per second, beyond which the account is throttled'],
  ['--put-rate', 'N', 'PutSnapshotBlock per second'],
  ['--list-rate', 'N', 'ListSnapshotBlocks, and as many ListChangedBlocks, per second'],
  ['--start-rate', 'N', 'StartSnapshot per second'],
  ['--complete-rate', 'N', 'CompleteSnapshot per second'],
  ['--snapshot-get-rate', 'N', 'GetSnapshotBlock per second from one snapshot'],
  ['--snapshot-put-rate', 'N', 'PutSnapshotBlock per second to one snapshot'],
  ['--error-rate', 'SHARE', 'share of requests, 0 to 1, that end in a 5xx'],
  ['--corrupt-rate', 'SHARE', 'share of blocks that are sent with a wrong byte'],
  ['--drop-rate', 'SHARE', 'share of requests whose connection is cut in the middle of a body'],
  ['--empty-page-rate', 'SHARE', 'share of list pages that are empty and have a NextToken'],
  ['--seed', 'N', 'what these shares are drawn with (default: 1)'],
  ['--page-size', 'N', 'most results of a list page, whatever the client asks for'],
  ['--token-ttl', 'TIME', 'how long block tokens are good (default: 7d)'],
  ['--readable-delay', 'TIME', 'how long a completed snapshot is not readable yet'],
  ['--start-delay', 'TIME', 'how long puts to a new snapshot are answered with 404'],
  ['--complete-delay', 'TIME', 'how long a snapshot stays pending after CompleteSnapshot'],
  ['--deny', 'PERMISSIONS', 'answer 403 to these operations, such as ec2:*,ebs:PutSnapshotBlock'],
];

interface ServeOptions extends Readonly<Record<string, unknown>> {
  readonly dir: string;
  readonly listen: string;
  readonly allowRemote?: true;
  readonly logFormat: 'text' | 'json';
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

function serveCommand(): Command {
  const command = new Command('serve')
    .description('answer the EBS direct APIs over HTTP from the snapshots of a folder')
    .requiredOption('--dir <DIR>', 'folder of the snapshots; made when there is none')
    .option('--listen <ADDRESS>', 'HOST:PORT or [IPV6]:PORT; port 0 picks a free one', DEFAULT_LISTEN)
    .option('--allow-remote', 'allow an address that is not loopback: whoever reaches it can read and write');
  for (const [flag, value, description] of FAULT_OPTIONS) command.option(`${flag} <${value}>`, description);
  return command
    .addOption(
      new Option('--log-format <FORMAT>', 'of the log on stderr').choices(['text', 'json']).default('text'),
    )
    .addOption(
      new Option('--log-level <LEVEL>', 'least severe level that is logged')
        .choices(['debug', 'info', 'warn', 'error'])
        .default('info'),
    )
    .addHelpText('after', SERVE_HELP)
    .action(serve);
}

const SERVE_HELP = `
When it is ready it prints its endpoint URL. Signatures are not verified, but requests must have one:
  export AWS_ENDPOINT_URL_EBS=http://${DEFAULT_LISTEN}
  export AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any

GET /_emulator/stats counts requests and bytes; POST /_emulator/faults changes the options above while it runs,
for example {"errorRate": 0.2}.`;

async function serve(options: ServeOptions): Promise<void> {
  const [{ startEmulator }, { parseFaultSettings }, { createLogWriter }, { watchStopSignals }] =
    await Promise.all([
      import('../emulator/server.js'),
      import('../emulator/faults/settings.js'),
      import('../app/log-writer.js'),
      import('../app/stop-signals.js'),
    ]);
  const { host, port } = parseListenAddress(options.listen);
  const faults = parseFaultSettings(faultsOf(options));
  const logger = createLogWriter({
    format: options.logFormat,
    level: options.logLevel,
    write: (line) => process.stderr.write(line),
  });
  const emulator = await startEmulator({
    dir: options.dir,
    host,
    port,
    allowRemote: options.allowRemote ?? false,
    faults,
    logger,
  });
  const stop = watchStopSignals(process, logger);
  try {
    process.stdout.write(`${emulator.url}\n`);
    await new Promise<void>((resolve) => {
      if (stop.signal.aborted) resolve();
      else stop.signal.addEventListener('abort', () => resolve(), { once: true });
    });
  } finally {
    await emulator.close();
    stop.dispose();
  }
}

/** The faults that were given, under the names of their options; numbers as numbers. */
function faultsOf(options: ServeOptions): Record<string, unknown> {
  const faults: Record<string, unknown> = {};
  for (const [flag, value] of FAULT_OPTIONS) {
    const text = options[camelCase(flag)];
    if (typeof text !== 'string') continue;
    const isNumber = value !== 'TIME' && /^\d+(?:\.\d+)?$/.test(text);
    faults[flag] = isNumber ? Number(text) : text;
  }
  return faults;
}

/** `--get-rate` as commander calls it: `getRate`. */
function camelCase(flag: string): string {
  return flag.slice(2).replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
