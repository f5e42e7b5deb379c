import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RECORDINGS, saveConversation } from './conversation.js';
import { Target } from './target.js';

/** Python for libnbd's shell: what programs do not ask for by themselves. */
const SIMPLE = `
h.set_request_structured_replies(False)
h.connect_uri(uri)
for offset in range(0, 65536, 4096): h.pread(4096, offset)
h.pwrite(b"a" * 700, 1000, nbd.CMD_FLAG_FUA)
h.flush(); h.trim(4096, 8192); h.zero(4096, 16384, nbd.CMD_FLAG_NO_HOLE); h.cache(65536, 0)
h.shutdown()`;

const EVERYTHING = `
h.add_meta_context("base:allocation")
h.connect_uri(uri)
show = lambda *parts: 0
h.block_status(1 << 20, 0, show); h.block_status(4096, 0, show, nbd.CMD_FLAG_REQ_ONE)
h.pread_structured(65536, 0, show); h.pread_structured(65536, 4096, show, nbd.CMD_FLAG_DF)
h.zero(65536, 0, nbd.CMD_FLAG_FAST_ZERO); h.pwrite(b"b" * 4096, 123)
buffers = [nbd.Buffer(512) for _ in range(64)]
for index, buffer in enumerate(buffers): h.aio_pread(buffer, index * 1000, completion=lambda error: 1)
while h.aio_in_flight() > 0: h.poll(-1)
h.shutdown()`;

const HAGGLING = `
h.set_opt_mode(True)
h.connect_uri(uri)
h.opt_list(lambda name, description: 0)
h.set_export_name("snap"); h.opt_info()
h.opt_list_meta_context(lambda name: 0)
h.opt_abort()`;

const OLD = `
h.set_handshake_flags(0)
h.connect_uri(uri)
h.pread(512, 0)
h.shutdown()`;

/** Python that keeps to the rules of libnbd no longer. */
const RUDE = `
h.set_strict_mode(0)
h.connect_uri(uri)
for call in (lambda: h.pread(512, 1 << 40), lambda: h.pwrite(b"c" * 600, 1 << 40), lambda: h.trim(1, 1 << 50)):
  try: call()
  except nbd.Error: pass
h.shutdown()`;

/** For a libnbd that speaks extended headers. */
const EXTENDED = `
h.add_meta_context("base:allocation")
h.connect_uri(uri)
show = lambda *parts: 0
h.block_status_64(1 << 21, 0, show); h.block_status_filter(1 << 21, 0, ["base:allocation"], show)
h.pwrite(b"d" * 700, 5000, nbd.CMD_FLAG_FUA); h.pread(4096, 4096); h.zero(1 << 20, 0); h.cache(1 << 20, 0)
h.shutdown()`;

const python = (script: string, program = '/usr/bin/python3'): readonly string[] => [
  ...[program, '-c', `import sys, nbd\nuri = sys.argv[1]\nh = nbd.NBD()\n${script}`],
];

const nbdUri = (name: string) => (proxy: string) => `nbd+unix:///${name}?socket=${proxy}`;
const [disk, snap] = [nbdUri('disk'), nbdUri('snap')];

/** The clients, by the name of their recording: a command line, for a proxy on a unix socket. */
const CLIENTS: Readonly<Record<string, (proxy: string) => readonly string[]>> = {
  'nbdinfo-json': (proxy) => ['nbdinfo', '--json', disk(proxy)],
  'nbdinfo-list': (proxy) => ['nbdinfo', '--list', nbdUri('')(proxy)],
  'nbdinfo-map': (proxy) => ['nbdinfo', '--map', snap(proxy)],
  'nbdinfo-tls': (proxy) => ['nbdinfo', disk(proxy).replace('nbd+', 'nbds+')],
  'nbdcopy-in': (proxy) => [
    'bash',
    '-c',
    'head -c 20000 /bin/bash | nbdcopy --request-size=4096 - "$0"',
    disk(proxy),
  ],
  'nbdcopy-out': (proxy) => ['nbdcopy', '--connections=1', disk(proxy), 'null:'],
  'nbd-client-list': (proxy) => ['nbd-client', '-l', '-unix', proxy],
  'qemu-img-info': (proxy) => ['qemu-img', 'info', disk(proxy)],
  'qemu-img-map': (proxy) => ['qemu-img', 'map', '-f', 'raw', snap(proxy)],
  'qemu-io': (proxy) => ['qemu-io', ...QEMU_IO, disk(proxy)],
  'newer-qemu-io': (proxy) => [
    'bash',
    '-c',
    '"$(scripts/newer-qemu)/qemu-io" "$@"',
    'bash',
    ...QEMU_IO,
    disk(proxy),
  ],
  'newer-qemu-img-map': (proxy) => [
    'bash',
    '-c',
    '"$(scripts/newer-qemu)/qemu-img" map -f raw "$0"',
    snap(proxy),
  ],
  fio: (proxy) => [
    ...[
      'fio',
      '--name=job',
      '--ioengine=nbd',
      `--uri=${disk(proxy)}`,
      '--rw=randrw',
      '--bs=512',
      '--size=16k',
    ],
    ...['--iodepth=8', '--fsync=8'],
  ],
  'nbdkit-nbd': (proxy) => ['nbdkit', '-U', '-', 'nbd', disk(proxy), '--run', 'nbdinfo "$uri"'],
  'libnbd-simple': (proxy) => [...python(SIMPLE), disk(proxy)],
  'libnbd-everything': (proxy) => [...python(EVERYTHING), disk(proxy)],
  'libnbd-haggling': (proxy) => [...python(HAGGLING), disk(proxy)],
  'libnbd-old': (proxy) => [...python(OLD), disk(proxy)],
  'newer-libnbd': (proxy) => [
    ...['bash', '-c', '"$(scripts/newer-libnbd)/python3" "$@"'],
    ...python(EXTENDED, 'bash'),
    disk(proxy),
  ],
  'libnbd-rude': (proxy) => [...python(RUDE), disk(proxy)],
};

const QEMU_IO = [
  ...[
    '-f',
    'raw',
    '-c',
    'write -P 1 0 4096',
    '-c',
    'write -f -P 2 5000 600',
    '-c',
    'flush',
    '-c',
    'write -z 8192 65536',
  ],
  ...['-c', 'discard 131072 65536', '-c', 'read 0 65536', '-c', 'read 100 1', '-c', 'write -z -u 0 512'],
];

/** Records what the clients say. @throws {Error} when one of them is not there. */
export async function record(say: (line: string) => void): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'snapnbd-record-'));
  const target = await Target.start();
  rmSync(RECORDINGS, { recursive: true, force: true });
  mkdirSync(RECORDINGS);
  try {
    for (const [name, commandFor] of Object.entries(CLIENTS)) {
      const socket = join(folder, name);
      const { server, said } = proxyTo(target.socketPath);
      server.listen(socket);
      await once(server, 'listening');
      await run(commandFor(socket));
      server.close();
      for (const [index, chunks] of said.entries()) {
        const bytes = Buffer.concat(chunks);
        if (bytes.length > 4) saveConversation(`${name}-${index}.txt`, name, bytes);
        say(`${name}: ${bytes.length} bytes`);
      }
    }
  } finally {
    await target.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Passes everything on, and keeps what clients say, connection by connection. */
function proxyTo(socketPath: string): { server: Server; said: Buffer[][] } {
  const said: Buffer[][] = [];
  const server = createServer((client) => {
    const chunks: Buffer[] = [];
    said.push(chunks);
    const upstream = connect(socketPath);
    client.on('data', (chunk) => chunks.push(chunk));
    client.pipe(upstream).pipe(client);
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
  });
  return { server, said };
}

/** Runs a client; how it ends is its own affair. */
async function run([program = '', ...args]: readonly string[]): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  await once(child, 'exit');
}
