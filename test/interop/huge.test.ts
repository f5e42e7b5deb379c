import { readFileSync } from 'node:fs';
import t from 'tap';
import { CREDENTIALS, startEmulator } from '../fixtures/emulator.js';
import type { ByteRange } from '../fixtures/nbd-agent.js';
import { connectAgent, digestOf } from '../fixtures/nbd-agent.js';
import { needsPython, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { freshSeed, seededNumbers } from '../fixtures/seeded.js';
import { serve, snapshotIdFrom } from '../fixtures/serving.js';
import { synthBytes } from '../fixtures/synth-rule.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

const SIZE_BYTES = 2 ** 46;
const READ_BYTES = 4096;

/** More of them by hand: SNAPNBD_HUGE_READS=20000. */
const READS = Number(process.env.SNAPNBD_HUGE_READS ?? 2000);

const CACHE_MIB = 64;
const ABOVE_CACHE_MIB = 256;

t.test('a full snapshot of 64 TiB', needsPython('nbd'), async (t) => {
  const seed = freshSeed();
  t.comment(`seed ${seed}`);
  const random = seededNumbers(seed);
  const synthSeed = random(2 ** 32);
  const folder = workFolder(t);
  const snapshotId = await snapshotIdFrom(t, [
    ...['emulator', 'synth', '--dir', folder],
    ...['--size', '64TiB', '--fill', '1', '--seed', String(synthSeed)],
  ]);
  const api = await startEmulator(t, folder);

  const beganMs = performance.now();
  const served = await serve(t, {
    exports: [snapshotId],
    options: ['--endpoint-url', api.url, '--cache-memory', `${CACHE_MIB}MiB`],
    env: CREDENTIALS,
  });
  const agent = await connectAgent(t, served.unix(snapshotId));
  t.equal(agent.sizeBytes, SIZE_BYTES);

  const someRange = (): ByteRange => [random(SIZE_BYTES / READ_BYTES) * READ_BYTES, READ_BYTES];
  const expected = (ranges: readonly ByteRange[]): readonly string[] =>
    ranges.map(([offset, lengthBytes]) => digestOf(synthBytes(synthSeed, offset, lengthBytes)));

  const first = someRange();
  const answers = await agent.read([first]);
  t.comment(`from start to the first answer: ${Math.round(performance.now() - beganMs)} ms`);
  t.strictSame(answers, expected([first]), 'the first read');
  const requests = async (operation: 'ListSnapshotBlocks' | 'GetSnapshotBlock'): Promise<number> =>
    (await api.stats()).operations[operation].requests;
  const [lists, gets] = [await requests('ListSnapshotBlocks'), await requests('GetSnapshotBlock')];
  t.ok(lists >= 1 && lists <= 2, `one or two List calls until then: ${lists}`);
  t.equal(gets, 1, 'and one Get');

  const ranges = [
    ...Array.from({ length: READS }, someRange),
    [SIZE_BYTES - READ_BYTES, READ_BYTES] as const,
  ];
  t.strictSame(await agent.read(ranges), expected(ranges), `${READS} reads all over the disk`);

  const status = readFileSync(`/proc/${served.process.pid}/status`, 'utf8');
  const residentMib = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
  t.comment(`${Math.round(residentMib)} MiB resident, ${await requests('ListSnapshotBlocks')} List calls`);
  t.ok(residentMib < CACHE_MIB + ABOVE_CACHE_MIB, 'memory stays bounded');
});
