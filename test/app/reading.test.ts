import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { CallFigures } from '../../src/ebs/call-figures.js';
import { openDiskStore } from '../../src/app/disk-store.js';
import { openExports } from '../../src/app/export-opening.js';
import { parseExportSpecs } from '../../src/app/export-spec.js';
import { hydrateAll } from '../../src/app/hydrating.js';
import { serviceIdentityOf } from '../../src/app/service-identity.js';
import type { ApiSettings } from '../../src/app/settings.js';
import { createSynth } from '../../src/emulator/synth/create-synth.js';
import { BLOCK_BYTES } from '../../src/ebs/constants.js';
import { BlockCache } from '../../src/snapshot/block-cache.js';
import { SnapshotDevice, type DiskStore } from '../../src/snapshot/snapshot-device.js';
import { systemClock } from '../../src/util/clock.js';
import { CostMeter } from '../../src/ebs/cost.js';
import { Limiter } from '../../src/util/limiter.js';
import { silentLogger } from '../../src/util/logger.js';
import { GIB, MIB } from '../../src/util/units.js';
import { joinChunks } from '../fixtures/device-contract.js';
import { emulatedApi, type EmulatedApi } from '../fixtures/emulated-api.js';
import { MemoryLog } from '../fixtures/memory-log.js';
import { synthBytes } from '../fixtures/synth-rule.js';
import { workFolder } from '../fixtures/work-folder.js';

const SEED = 7;

/** A share of 1 GiB that lists about 40 blocks. */
const FILL = 0.02;

async function diskIn(
  t: Test,
  dir: string,
  bytesMax = 128 * MIB,
  endpointUrl = 'http://emulator',
): Promise<DiskStore> {
  const settings = {
    exports: parseExportSpecs(['snap-1234567890abcdef0']),
    api: { endpointUrl },
    disk: { dir, bytesMax },
  };
  const store = await openDiskStore(settings, { logger: silentLogger, clock: systemClock });
  if (store === undefined) throw new Error('no disk cache');
  t.teardown(() => store.cache.close());
  return store;
}

async function openDevices(
  { api }: EmulatedApi,
  specs: readonly string[],
  disk?: DiskStore,
): Promise<readonly SnapshotDevice[]> {
  const exports = await openExports(parseExportSpecs(specs), {
    connection: {
      api,
      limiter: new Limiter(16),
      openEc2: () => Promise.reject(new Error('there is no EC2 here')),
      figures: new CallFigures(systemClock),
      meter: new CostMeter(),
      putLimiter: new Limiter(16),
      usage: () => new CostMeter().usage,
      close: () => Promise.resolve(),
    },
    cache: new BlockCache(64 * MIB),
    disk,
    logger: silentLogger,
    clock: systemClock,
    signal: undefined,
  });
  return exports.map(({ device }) => {
    if (!(device instanceof SnapshotDevice)) throw new Error('it is no snapshot');
    return device;
  });
}

/** Reads all that is listed, and compares it with the rule by which it was made; the number of its blocks. */
async function readAll(t: Test, device: SnapshotDevice): Promise<number> {
  let dataBytes = 0;
  for (let offset = 0; offset < GIB;) {
    for (const { lengthBytes, flags } of await device.extents(offset, GIB - offset, { extentsMax: 1000 })) {
      if (flags === 0) {
        const bytes = joinChunks(await device.read(offset, lengthBytes), lengthBytes);
        for (let at = 0; at < lengthBytes; at += BLOCK_BYTES) {
          // The ends of each block: the rule is slow to compute here.
          for (const start of [at, at + BLOCK_BYTES - 512]) {
            const expected = synthBytes(SEED, offset + start, 512);
            if (!bytes.subarray(start, start + 512).equals(expected))
              t.fail(`the bytes from ${offset + start} on`);
          }
        }
        dataBytes += lengthBytes;
      }
      offset += lengthBytes;
    }
  }
  return dataBytes / BLOCK_BYTES;
}

const requests = ({ emulator }: EmulatedApi, operation: 'GetSnapshotBlock' | 'ListSnapshotBlocks'): number =>
  emulator.stats().operations[operation].requests;

t.test('a snapshot under several names is opened once, and its blocks are fetched once', async (t) => {
  const emulated = await emulatedApi(t);
  const snapshotId = await createSynth({ dir: emulated.dir, volumeSizeGib: 1, fill: 1, seed: SEED });
  const names = Array.from({ length: 50 }, (_, count) => `name${count}=${snapshotId}`);
  const devices = await openDevices(emulated, names);
  t.equal(devices.length, 50);
  t.equal(requests(emulated, 'ListSnapshotBlocks'), 1);
  await Promise.all(devices.map((device) => Promise.resolve(device.read(5 * MIB, 4096))));
  t.equal(requests(emulated, 'GetSnapshotBlock'), 1);
  for (const device of devices) device.close();
});

t.test('[ebs: GetSnapshotBlock] after a restart what was read costs nothing', async (t) => {
  const emulated = await emulatedApi(t);
  const dir = join(workFolder(t), 'cache');
  const snapshotId = await createSynth({ dir: emulated.dir, volumeSizeGib: 1, fill: FILL, seed: SEED });

  const first = await diskIn(t, dir);
  const [device] = await openDevices(emulated, [snapshotId], first);
  const listed = await readAll(t, device!);
  t.ok(listed > 20);
  t.equal(requests(emulated, 'GetSnapshotBlock'), listed, 'exactly one Get a block');
  device!.close();
  await first.cache.close();

  const second = await diskIn(t, dir);
  const [again] = await openDevices(emulated, [snapshotId], second);
  t.equal(await readAll(t, again!), listed);
  t.equal(requests(emulated, 'GetSnapshotBlock'), listed, 'not one more');
  t.equal(again!.counts.diskHits, listed);
  again!.close();
  await second.cache.close();

  const other = await diskIn(t, dir, 128 * MIB, 'http://another');
  const [elsewhere] = await openDevices(emulated, [snapshotId], other);
  await elsewhere!.read(0, 64 * MIB);
  t.ok(requests(emulated, 'GetSnapshotBlock') > listed, 'another service is not served from it');
  elsewhere!.close();
});

t.test('hydration brings everything that is listed, once, and says so', async (t) => {
  const emulated = await emulatedApi(t);
  const dir = workFolder(t);
  const snapshotId = await createSynth({ dir: emulated.dir, volumeSizeGib: 1, fill: FILL, seed: SEED });
  emulated.emulator.setFaults({ errorRate: 0.05, corruptRate: 0.05 });
  const disk = await diskIn(t, dir);
  const devices = await openDevices(emulated, [snapshotId], disk);
  const log = new MemoryLog();
  const ending = new AbortController();
  const options = { clock: systemClock, signal: ending.signal };
  await hydrateAll({ ...options, devices, blocksMax: disk.cache.blocksMax, logger: log });
  t.match(log.at('info')[0], { message: /whole snapshot is in the disk cache/ });
  const gets = emulated.emulator.stats().snapshots[snapshotId]?.distinctBlocksGot;
  t.equal(devices[0]!.counts.gets, gets);

  emulated.emulator.setFaults({ errorRate: 0, corruptRate: 0 });
  const before = requests(emulated, 'GetSnapshotBlock');
  t.equal(await readAll(t, devices[0]!), gets);
  await hydrateAll({ ...options, devices, blocksMax: disk.cache.blocksMax, logger: log });
  t.equal(requests(emulated, 'GetSnapshotBlock'), before, 'nothing is fetched again');

  const small = new MemoryLog();
  await hydrateAll({ ...options, devices, blocksMax: 10, logger: small });
  t.match(small.at('warn'), [{ message: /too small/ }]);
  devices[0]!.close();
});

t.test('what cannot be hydrated is told in one line; closing ends it', async (t) => {
  const emulated = await emulatedApi(t);
  const snapshotId = await createSynth({ dir: emulated.dir, volumeSizeGib: 1, fill: 1, seed: SEED });
  const disk = await diskIn(t, workFolder(t));
  const devices = await openDevices(emulated, [snapshotId], disk);
  const log = new MemoryLog();
  const ending = new AbortController();
  emulated.emulator.setFaults({ latencyMs: 3_600_000 });
  const done = hydrateAll({ devices, blocksMax: 64, logger: log, clock: systemClock, signal: ending.signal });
  ending.abort();
  for (const device of devices) device.close();
  await done;
  t.strictSame(log.lines, []);
});

t.test('services are told apart as far as they are known', (t) => {
  const dir = workFolder(t);
  mkdirSync(join(dir, 'a'));
  mkdirSync(join(dir, 'b'));
  const cases: readonly [ApiSettings, NodeJS.ProcessEnv][] = [
    [{}, {}],
    [{ region: 'eu-west-1' }, {}],
    [{ endpointUrl: 'http://127.0.0.1:1' }, {}],
    [{}, { AWS_ENDPOINT_URL: 'http://127.0.0.1:2' }],
    [{}, { AWS_PROFILE: 'other' }],
    [{ emulatorDir: join(dir, 'a') }, {}],
    [{ emulatorDir: join(dir, 'b') }, {}],
  ];
  const identities = cases.map(([settings, environment]) => serviceIdentityOf(settings, environment));
  t.equal(new Set(identities).size, cases.length);
  t.equal(serviceIdentityOf({ emulatorDir: join(dir, 'b', '..', 'a') }, {}), identities[5]);
  t.equal(serviceIdentityOf({}, { AWS_REGION: 'eu-west-1' }), identities[1]);
  t.end();
});
