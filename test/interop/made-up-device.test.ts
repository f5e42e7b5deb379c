// A device that no client has seen before, with maps of its own, through the clients that show such maps.
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { BlockDevice, Extent, ExtentSource } from '../../src/device/block-device.js';
import { formatNbdUri } from '../../src/nbd/listen/listen-address.js';
import { NbdServer } from '../../src/nbd/server.js';
import { FixedExports } from '../fixtures/nbd-connection.js';
import { MemoryDevice } from '../../src/device/memory-device.js';
import {
  needsNewerLibnbd,
  needsNewerQemu,
  needsPrograms,
  PROGRAMS_TIMEOUT_MS,
} from '../fixtures/programs.js';
import { mustRun } from '../fixtures/run-program.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

const GIB = 2 ** 30;
const TIB = 2 ** 40;

/** Runs of a disk, as [length in bytes, flags]: what an extent source describes, as far as it is asked. */
function mapOf(...runs: readonly (readonly [lengthBytes: number, flags: number])[]): ExtentSource & {
  readonly asked: number[];
} {
  const asked: number[] = [];
  const extents: ExtentSource['extents'] = (offset, lengthBytes, { extentsMax }) => {
    asked.push(lengthBytes);
    const found: Extent[] = [];
    let start = 0;
    for (const [runBytes, flags] of runs) {
      const from = Math.max(start, offset);
      const to = Math.min(start + runBytes, offset + lengthBytes);
      if (to > from && found.length < extentsMax) found.push({ lengthBytes: to - from, flags });
      start += runBytes;
    }
    return found;
  };
  return { extents, asked };
}

const BITMAP = 'qemu:dirty-bitmap:tuesday';
const DEPTH = 'qemu:allocation-depth';

const dirty = mapOf([GIB, 0], [65_536, 1], [3 * GIB - 65_536, 0], [4 * GIB, 1], [TIB - 8 * GIB, 0]);
const depth = mapOf([5 * GIB, 2], [TIB - 5 * GIB, 1]);
const allocation = mapOf([2 * GIB, 0], [TIB - 2 * GIB, 3]);
const disk: BlockDevice = {
  sizeBytes: TIB,
  description: 'a tebibyte with a bitmap',
  read: (_offset, lengthBytes) => [{ zeroBytes: lengthBytes }],
  extents: (offset, lengthBytes, options) => allocation.extents(offset, lengthBytes, options),
  metaContexts: new Map([
    [BITMAP, dirty],
    [DEPTH, depth],
  ]),
};

const wide = mapOf([20 * TIB, 0], [43 * TIB, 3], [TIB, 0]);
const huge: BlockDevice = {
  sizeBytes: 64 * TIB,
  read: (_offset, lengthBytes) => [{ zeroBytes: lengthBytes }],
  extents: (offset, lengthBytes, options) => wide.extents(offset, lengthBytes, options),
};

async function serveDevices(t: Test): Promise<{ uri: (name: string) => string; socket: string }> {
  const server = new NbdServer({
    exports: new FixedExports({ disk, huge, blank: new MemoryDevice(2 ** 20) }),
  });
  const address = await server.listen({ kind: 'unix', path: join(workFolder(t), 's') });
  t.teardown(() => server.close());
  return {
    uri: (name) => formatNbdUri(address, name),
    socket: address.kind === 'unix' ? address.path : '',
  };
}

const newer = needsNewerQemu();

t.test('a disk with a bitmap', { ...needsPrograms('nbdinfo', 'qemu-img'), ...newer }, async (t) => {
  const { uri, socket } = await serveDevices(t);
  const map = async (context: string): Promise<unknown> =>
    JSON.parse(await mustRun('nbdinfo', [`--map=${context}`, '--json', uri('disk')]));

  await t.test('nbdinfo lists its contexts, and shows each', async (t) => {
    const info = JSON.parse(await mustRun('nbdinfo', ['--json', uri('disk')]));
    t.strictSame(info.exports[0].contexts, ['base:allocation', BITMAP, DEPTH]);
    t.match(await map(BITMAP), [
      { offset: 0, length: GIB, type: 0, description: 'clean' },
      { offset: GIB, length: 65_536, type: 1, description: 'dirty' },
      { offset: GIB + 65_536, length: 3 * GIB - 65_536, type: 0 },
      { offset: 4 * GIB, length: 4 * GIB, type: 1 },
      { offset: 8 * GIB, length: TIB - 8 * GIB, type: 0 },
    ]);
    t.match(await map(DEPTH), [
      { offset: 0, length: 5 * GIB, type: 2 },
      { offset: 5 * GIB, length: TIB - 5 * GIB, type: 1 },
    ]);
    t.match(await map('base:allocation'), [
      { offset: 0, length: 2 * GIB, type: 0, description: 'data' },
      { offset: 2 * GIB, length: TIB - 2 * GIB, type: 3, description: 'hole,zero' },
    ]);
  });

  const qemuMap = (program: string, context: string): Promise<string> =>
    mustRun(program, [
      ...['map', '--output=json', '--image-opts'],
      `driver=nbd,path=${socket},export=disk,x-dirty-bitmap=${context}`,
    ]);
  // QEMU shows what is dirty as a hole.
  const shown = [
    { start: 0, length: GIB, data: true },
    { start: GIB, length: 65_536, data: false },
    { start: GIB + 65_536, length: 3 * GIB - 65_536, data: true },
    { start: 4 * GIB, length: 4 * GIB, data: false },
    { start: 8 * GIB, length: TIB - 8 * GIB, data: true },
  ];

  await t.test(
    'qemu-img map shows the bitmap, with structured replies and with extended headers',
    async (t) => {
      for (const program of ['qemu-img', join(newer.folder, 'qemu-img')]) {
        t.match(JSON.parse(await qemuMap(program, BITMAP)), shown, program);
      }
    },
  );

  await t.test('64 TiB in a few questions of more than 32 bits', async (t) => {
    wide.asked.length = 0;
    const options = ['map', '-f', 'raw', '--output=json', uri('huge')];
    const found = JSON.parse(await mustRun(join(newer.folder, 'qemu-img'), options));
    t.match(found, [
      { start: 0, length: 20 * TIB, zero: false },
      { start: 20 * TIB, length: 43 * TIB, zero: true },
      { start: 63 * TIB, length: TIB, zero: false },
    ]);
    t.ok(Math.max(...wide.asked) > 2 ** 32, `one was of ${Math.max(...wide.asked)} bytes`);
    t.ok(wide.asked.length < 10, `${wide.asked.length} questions`);
  });
});

const FILTERED = `
import json, nbd, sys
disk, blank = sys.argv[1:]
h = nbd.NBD()
for context in ["base:allocation", "qemu:dirty-bitmap:tuesday", "qemu:allocation-depth"]:
    h.add_meta_context(context)
h.connect_uri(disk)
answers = []
def ask(contexts):
    answer = {}
    h.block_status_filter(h.get_size(), 0, contexts, lambda context, _, extents, __: answer.update({context: extents}))
    answers.append(answer)
ask(["qemu:dirty-bitmap:tuesday"])
ask(["qemu:allocation-depth", "base:allocation"])
b = nbd.NBD()
b.connect_uri(blank)
b.pwrite(b"marked", 4096, nbd.CMD_FLAG_FUA)
print(json.dumps({
    "is_extended": [h.get_extended_headers_negotiated(), b.get_extended_headers_negotiated()],
    "is_offered": [h.can_block_status_payload(), b.can_block_status_payload()],
    "answers": answers,
    "written": b.pread(8, 4095).decode(),
}))
b.shutdown()
h.shutdown()
`;

const newerLibnbd = needsNewerLibnbd();

t.test(
  'the status of some contexts only, and writes that say that they have a payload',
  newerLibnbd,
  async (t) => {
    const { uri } = await serveDevices(t);
    for (const map of [allocation, dirty, depth]) map.asked.length = 0;
    const python = join(newerLibnbd.folder, 'python3');
    const said = JSON.parse(await mustRun(python, ['-c', FILTERED, uri('disk'), uri('blank')]));
    t.strictSame(said, {
      is_extended: [true, true],
      is_offered: [true, false],
      answers: [
        {
          [BITMAP]: [
            [GIB, 0],
            [65_536, 1],
            [3 * GIB - 65_536, 0],
            [4 * GIB, 1],
            [TIB - 8 * GIB, 0],
          ],
        },
        {
          'base:allocation': [
            [2 * GIB, 0],
            [TIB - 2 * GIB, 3],
          ],
          [DEPTH]: [
            [5 * GIB, 2],
            [TIB - 5 * GIB, 1],
          ],
        },
      ],
      written: '\0marked\0',
    });
    t.strictSame(
      [allocation, dirty, depth].map(({ asked }) => asked),
      [[TIB], [TIB], [TIB]],
      'no other was looked up',
    );
  },
);
