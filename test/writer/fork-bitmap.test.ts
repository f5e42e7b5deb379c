import t from 'tap';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { BLOCK_BYTES } from '../../src/ebs/constants.js';
import { systemClock } from '../../src/util/clock.js';
import { ForkDevice } from '../../src/writer/fork-device.js';
import { joinWishes, type ForkOrigin } from '../../src/writer/fork-facts.js';
import { ForkStore } from '../../src/writer/fork-store.js';
import { joinChunks } from '../fixtures/device-contract.js';
import { ForgetfulFolder } from '../fixtures/forgetful-folder.js';
import { freshSeed, seededBytes, seededNumbers } from '../fixtures/seeded.js';

const SIZE = 3 * BLOCK_BYTES;
const ORIGIN: ForkOrigin = {
  version: 1,
  name: 'test',
  sizeBytes: SIZE,
  originSnapshotId: null,
  createdMs: 0,
  encrypted: false,
  kmsKeyArn: null,
};
const WISHES = joinWishes(ORIGIN);

/** The sectors that the bitmap has, one byte each, asked for in pieces. */
async function dirtySectors(device: ForkDevice, random: (below: number) => number): Promise<Buffer> {
  const bitmap = device.metaContexts.get('qemu:dirty-bitmap:fork')!;
  const sectors = Buffer.alloc(SIZE / 512);
  for (let at = 0; at < SIZE;) {
    const lengthBytes = 512 * (1 + random((SIZE - at) / 512));
    for (const extent of await bitmap.extents(at, lengthBytes, { extentsMax: 1 + random(4) })) {
      sectors.fill(extent.flags, at / 512, (at + extent.lengthBytes) / 512);
      at += extent.lengthBytes;
    }
  }
  return sectors;
}

/** Sectors of two disks that are not the same. */
function differences(a: Buffer, b: Buffer): number[] {
  const found = [];
  for (let sector = 0; sector < SIZE / 512; sector += 1) {
    const start = sector * 512;
    if (!a.subarray(start, start + 512).equals(b.subarray(start, start + 512))) found.push(sector);
  }
  return found;
}

async function bytesOf(view: Pick<ForkDevice, 'read'>): Promise<Buffer> {
  return joinChunks(await view.read(0, SIZE), SIZE);
}

t.test('[qemu: nbd.txt] the bitmap of a fork is what was written since its base', async (t) => {
  const seed = freshSeed();
  t.comment(`seed: ${seed}`);
  const random = seededNumbers(seed);
  const store = await ForkStore.create({ folder: new ForgetfulFolder(), clock: systemClock }, ORIGIN);
  let base = seededBytes('base', SIZE);
  const disk = new MemoryDevice(SIZE);
  disk.write(0, base);
  const device = new ForkDevice(store, disk);
  /** Sectors written since the base. */
  let written: Buffer = Buffer.alloc(SIZE / 512);
  /** Those written since the last freeze. */
  let afterFreeze: Buffer = Buffer.alloc(SIZE / 512);
  const note = (first: number, last: number): void => {
    written.fill(1, first, last);
    afterFreeze.fill(1, first, last);
  };

  const change = async (): Promise<void> => {
    const offset = random(SIZE);
    const lengthBytes = 1 + random(Math.min(SIZE - offset, 30_000));
    const [first, last] = [Math.floor(offset / 512), Math.ceil((offset + lengthBytes) / 512)];
    switch (random(4)) {
      case 0:
        await device.zero(offset, lengthBytes);
        break;
      case 1: {
        await device.trim(offset, lengthBytes);
        // The parts of sectors at its ends keep what they have.
        const [from, to] = [Math.ceil(offset / 512), Math.floor((offset + lengthBytes) / 512)];
        if (from < to) note(from, to);
        return;
      }
      default:
        await device.write(offset, seededBytes(String(random(2 ** 40)), lengthBytes));
    }
    note(first, last);
  };
  const check = async (exact: boolean): Promise<void> => {
    const dirty = await dirtySectors(device, random);
    const unsaid = differences(await bytesOf(device), base).filter((sector) => dirty[sector] === 0);
    if (unsaid.length > 0) t.fail(`clean, and not as the base: ${unsaid.join(' ')}`);
    if (exact && !dirty.equals(written)) t.fail('dirty is not what was written');
  };

  await check(true);
  for (let round = 0; round < 12; round += 1) {
    for (let count = random(12); count > 0; count -= 1) await change();
    await check(true);
    const isLive = random(2) === 0;
    if (isLive) {
      await device.flush();
      for (let count = random(6); count > 0; count -= 1) await change();
    }
    if (store.state.active.isEmpty) continue;
    await device.freeze(WISHES, isLive);
    await check(true);
    const frozenBytes = await bytesOf(device.frozenView());
    afterFreeze = Buffer.alloc(SIZE / 512);
    for (let count = random(6); count > 0; count -= 1) await change();
    // While it is being committed, all of it is still news to the base.
    await check(true);
    await store.setPending(store.state.frozen!.id, {
      ...{ ...WISHES, clientToken: 'x', parentSnapshotId: null, snapshotId: `snap-${round}` },
      ...{ startedMs: 0, completing: null, encrypted: false },
    });
    const next = new MemoryDevice(SIZE);
    next.write(0, frozenBytes);
    await device.rebase({ snapshotId: `snap-${round}`, dateMs: 0 }, next);
    base = frozenBytes;
    written = isLive ? await dirtySectors(device, random) : afterFreeze;
    // A live commit is of the last flush: what came after that stays dirty as well.
    await check(!isLive);
    if (afterFreeze.some((value, sector) => value > written[sector]!)) t.fail('clean, although written');
  }
  t.ok(written.includes(0), 'not all of it is dirty');
  await device.close();
});
