import { connect } from 'node:net';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { CMD, OPT, optionBytes } from '../fixtures/nbd-bytes.js';
import { settle } from '../fixtures/manual-clock.js';
import { RawNbdClient } from '../fixtures/nbd-raw-client.js';
import { connectAgent } from '../fixtures/nbd-agent.js';
import { needsPrograms, needsPython, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { mustRun, runProgram } from '../fixtures/run-program.js';
import { digestsOfRanges, makeScatteredSnapshot } from '../fixtures/scattered-snapshot.js';
import { freshSeed } from '../fixtures/seeded.js';
import { seededRanges } from '../fixtures/seeded-ranges.js';
import { serve } from '../fixtures/serving.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

const SCRATCH_BYTES = 12_345 * 512;

/** Runs libnbd's shell for Python. */
function nbdsh(uri: string, options: readonly string[], script: string): Promise<string> {
  return mustRun('/usr/bin/python3', ['-m', 'nbd', ...options, '-u', uri, '-c', script]);
}

interface MapEntry {
  readonly offset: number;
  readonly length: number;
  readonly type: number;
}

const HOLE_AND_ZERO = 3;

t.test(
  'libnbd',
  { ...needsPrograms('nbdinfo', 'nbdcopy', 'cmp', 'qemu-img', 'ss'), ...needsPython('nbd') },
  async (t) => {
    const seed = freshSeed();
    t.comment(`seed ${seed}`);
    const { folder, emulator, snapshotId, original, sizeBytes } = await makeScatteredSnapshot(t, seed);
    const served = await serve(t, {
      exports: [`root=${snapshotId}`, `scratch=memory:${SCRATCH_BYTES}`, 'blank=memory:128MiB'],
      emulator,
    });
    const greet = (): Promise<RawNbdClient> => RawNbdClient.greet(connect(served.port, '127.0.0.1'));
    // It says no more than that: the time that it has goes by during the other tests.
    const idle = await greet();

    await t.test('nbdinfo tells what is served', async (t) => {
      for (const uri of [served.tcp('root'), served.unix('root'), `nbd://127.0.0.1:${served.port}/`]) {
        const info = JSON.parse(await mustRun('nbdinfo', ['--json', uri]));
        t.match(info, { protocol: /^newstyle-fixed/, TLS: false }, uri);
        t.equal(info.exports.length, 1, 'one export');
        t.match(info.exports[0], { 'export-size': sizeBytes, is_read_only: true, can_multi_conn: true }, uri);
      }
      const size = await mustRun('nbdinfo', ['--size', served.tcp('scratch')]);
      t.equal(size, `${SCRATCH_BYTES}\n`, 'the size of the scratch disk');
    });

    await t.test('nbdinfo --list names the exports, in their order', async (t) => {
      for (const uri of [`nbd://127.0.0.1:${served.port}`, `nbd+unix:///?socket=${served.socket}`]) {
        const list = JSON.parse(await mustRun('nbdinfo', ['--list', '--json', uri]));
        t.equal(list.exports.length, 3, uri);
        t.match(list.exports, [{ 'export-name': 'root' }, { 'export-name': 'scratch' }], uri);
      }
    });

    await t.test('an export that does not exist is refused with a reason', async (t) => {
      const outcome = await runProgram('nbdinfo', [`nbd://127.0.0.1:${served.port}/no-such-disk`]);
      t.equal(outcome.status, 1);
      t.match(outcome.stderr, /no-such-disk/);
    });

    const copies = [
      {
        title: 'over four connections',
        options: ['--connections=4', '--requests=64'],
        uri: served.unix('root'),
      },
      { title: 'over one connection by TCP', options: ['--connections=1'], uri: served.tcp('root') },
    ];
    for (const [index, { title, options, uri }] of copies.entries()) {
      await t.test(`nbdcopy of the whole snapshot, ${title}, is equal`, async (t) => {
        const copy = join(folder, `copy-${index}`);
        await mustRun('nbdcopy', [...options, uri, copy]);
        t.equal((await runProgram('cmp', [copy, original])).status, 0, 'every byte');
      });
    }

    await t.test('reads of any offset and length, many at once, are equal', async (t) => {
      const ranges = seededRanges(seed, sizeBytes, 300, 2 ** 20);
      const agent = await connectAgent(t, served.tcp('root'));
      t.match(agent, { sizeBytes, readOnly: true });
      t.strictSame(await agent.read(ranges), digestsOfRanges(original, ranges));
      t.equal(await agent.disconnect(), 0);
    });

    await t.test('nbdinfo --map: everything is described, and no data lie in a hole', async (t) => {
      const map = JSON.parse(
        await mustRun('nbdinfo', ['--map', '--json', served.unix('root')]),
      ) as MapEntry[];
      t.equal(
        map.reduce((end, { offset, length }) => (offset === end ? end + length : NaN), 0),
        sizeBytes,
      );
      const holes = map.filter(({ type }) => type === HOLE_AND_ZERO);
      t.ok(holes.reduce((sum, { length }) => sum + length, 0) > sizeBytes / 2, 'most of it is a hole');
      // Zeros are not written to the copy: what it has is what the holes were read as elsewhere.
      const found = JSON.parse(
        await mustRun('qemu-img', ['map', '-f', 'raw', '--output=json', original]),
      ) as {
        start: number;
        length: number;
        data: boolean;
      }[];
      const hidden = found.filter(
        ({ start, length, data }) =>
          data &&
          holes.some(
            ({ offset, length: holeBytes }) => start < offset + holeBytes && offset < start + length,
          ),
      );
      t.strictSame(hidden, []);
    });

    await t.test('nbdsh: every command with every flag, and every refusal', async (t) => {
      const script = readFileSync(join(import.meta.dirname, '../fixtures/every-command.py'), 'utf8');
      for (const uri of [served.tcp('blank'), served.unix('blank')]) {
        t.equal(await nbdsh(uri, ['--base-allocation'], script), 'done\n', uri);
        // Nothing of before is in the way: a disk of zeros again.
        t.equal(
          await nbdsh(uri, [], 'h.zero(h.get_size(), 0); print(h.pread(512, 12345) == bytes(512))'),
          'True\n',
        );
      }
      const old = `h.set_handshake_flags(0); h.connect_uri(${JSON.stringify(served.tcp('blank'))}); print(h.get_size())`;
      const python = ['-c', `import nbd; h = nbd.NBD(); ${old}`];
      t.equal(await mustRun('/usr/bin/python3', python), `${2 ** 27}\n`, 'by EXPORT_NAME, as old clients do');
      const refusal = 'try: h.pwrite(b"x", 0)\nexcept nbd.Error as error: print(error.errno)';
      const strict = `h.set_strict_mode(0)\n${refusal}`;
      t.equal(await nbdsh(served.tcp('root'), [], strict), 'EPERM\n', 'a snapshot cannot be written');
    });

    await t.test(
      'nbdfuse shows the disk as a file',
      { ...needsPrograms('nbdfuse', 'fusermount3') },
      async (t) => {
        const script = `
      nbdfuse -P "$1/pid" "$1/mnt/disk" "$2" & program=$!
      until [ -s "$1/pid" ]; do kill -0 $program; sleep 0.05; done
      cmp -n 134217728 "$1/mnt/disk" "$3" || status=$?
      fusermount3 -u "$1/mnt"
      wait $program
      exit \${status:-0}`;
        const parts = workFolder(t);
        mkdirSync(join(parts, 'mnt'));
        const args = ['-euc', script, 'nbdfuse', parts, served.unix('root'), original];
        const outcome = await runProgram('bash', args);
        t.equal(outcome.status, 0, 'every byte of the first 128 MiB', { stderr: outcome.stderr });
      },
    );

    await t.test(
      "nbdkit's nbd plugin in front, and a filter before it",
      needsPrograms('nbdkit'),
      async (t) => {
        const [filter, range] = ['--filter=offset', ['offset=0', 'range=48M']] as const;
        const through = (args: readonly string[]): Promise<string> =>
          mustRun('nbdkit', ['-U', '-', '-t', '1', ...args, '--run', 'nbdcopy "$uri" - | sha256sum']);
        const expected = await mustRun('bash', ['-c', 'head -c 48M "$1" | sha256sum', 'bash', original]);
        t.equal(await through([filter, 'nbd', ...range, served.unix('root')]), expected);
        const more = ['--filter=cow', filter, 'nbd', ...range, 'shared=true', served.tcp('root')];
        t.equal(await through(more), expected, 'one connection for all, behind filters');
      },
    );

    await t.test(
      '[nbd-rule 19, 20, 38] limits of the process: clients who overdo it are hung up on',
      async (t) => {
        const [talkative, lengthy, user] = await Promise.all([greet(), greet(), greet()]);
        await user.go('blank');
        const sockets = await mustRun('ss', ['-Htno', 'state', 'established', `sport = :${served.port}`]);
        const timers = sockets.trimEnd().split('\n');
        t.ok(timers.length >= 3, sockets);
        t.ok(
          timers.every((line) => /timer:\(keepalive,[\d.]+sec/.test(line)),
          sockets,
        );
        // NBD_OPT_PEEK_EXPORT, which nobody has: LIST would give room to ask about what it shows.
        for (let count = 0; count < 1025; count += 1) talkative.write(optionBytes(4));
        const announced = Buffer.from(optionBytes(OPT.INFO));
        announced.writeUInt32BE(2 ** 32 - 1, announced.length - 4);
        lengthy.write(announced);
        await Promise.all([talkative.ended, lengthy.ended, idle.ended]);
        for (const client of [talkative, lengthy, idle]) client.stream.destroy();
        for (const reason of ['more than 1024 options', '4294967295 bytes', 'the handshake took too long']) {
          while (!served.process.stderr().includes(reason)) await settle();
        }
        user.send({ type: CMD.READ, length: 512 });
        t.match(await user.readSimple(512), { error: 0 }, 'who uses an export stays');
        user.stream.destroy();
      },
    );
  },
);
