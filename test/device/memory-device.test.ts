import t from 'tap';
import { AllocationFlag } from '../../src/device/block-device.js';
import { HOLE_FLAGS } from '../../src/device/extent-list.js';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { assert, AssertionError } from '../../src/util/assert.js';
import { Lease } from '../../src/util/lease.js';
import { KIB, MIB, TIB } from '../../src/util/units.js';
import { joinChunks, testDeviceContract } from '../fixtures/device-contract.js';

const PAGE = 256 * KIB;

/** Receives a write in the room that a device has for it. */
function writeIntoRoom(device: MemoryDevice, offset: number, lengthBytes: number): void {
  const room = device.roomFor(offset, lengthBytes);
  assert(room !== undefined, `there is room for ${lengthBytes} bytes at ${offset}`);
  for (const piece of room.pieces) piece.fill('room');
  room.commit();
}

t.test('keeps the contract of devices', async (t) => {
  for (const sizeBytes of [512, 3 * 512, PAGE, PAGE + 512, MIB, 3 * MIB + 512]) {
    await t.test(`${sizeBytes} bytes`, (t) =>
      testDeviceContract(t, {
        open: () => new MemoryDevice(sizeBytes),
        borders: [512, 4096, PAGE],
        lengthBytesMax: Math.min(sizeBytes, 3 * PAGE),
      }),
    );
  }
});

t.test('costs what is in it, not what it could hold', async (t) => {
  const device = new MemoryDevice(64 * TIB);
  device.write(63 * TIB + 5, Buffer.from('far away'));
  t.equal(device.allocatedBytes, PAGE);
  t.equal(joinChunks(device.read(63 * TIB + 5, 8), 8).toString(), 'far away');
  t.strictSame(device.extents(0, 64 * TIB, { extentsMax: 10 }), [
    { lengthBytes: 63 * TIB, flags: HOLE_FLAGS },
    { lengthBytes: PAGE, flags: 0 },
    { lengthBytes: TIB - PAGE, flags: HOLE_FLAGS },
  ]);
  device.trim(0, 64 * TIB);
  t.equal(device.allocatedBytes, 0, 'a trim of all of it gives all of it back');
  t.strictSame(device.extents(0, 64 * TIB, { extentsMax: 10 }), [
    { lengthBytes: 64 * TIB, flags: HOLE_FLAGS },
  ]);
});

t.test('[nbd: NBD_CMD_FLAG_NO_HOLE] what is zeroed without holes keeps its place', async (t) => {
  const device = new MemoryDevice(64 * TIB);
  device.zero(0, 64 * TIB, { noHole: true });
  t.equal(device.allocatedBytes, 0);
  t.strictSame(device.extents(5, 10 * TIB, { extentsMax: 4 }), [
    { lengthBytes: 10 * TIB, flags: AllocationFlag.Zero },
  ]);
  device.trim(PAGE, PAGE);
  t.strictSame(device.extents(0, 4 * PAGE, { extentsMax: 4 }), [
    { lengthBytes: PAGE, flags: AllocationFlag.Zero },
    { lengthBytes: PAGE, flags: HOLE_FLAGS },
    { lengthBytes: 2 * PAGE, flags: AllocationFlag.Zero },
  ]);
});

t.test('says no more about extents than it was asked', async (t) => {
  const device = new MemoryDevice(16 * PAGE);
  for (const page of [1, 3, 5]) device.write(page * PAGE, Buffer.from('x'));
  t.strictSame(device.extents(0, 16 * PAGE, { extentsMax: 2 }), [
    { lengthBytes: PAGE, flags: HOLE_FLAGS },
    { lengthBytes: PAGE, flags: 0 },
  ]);
  t.strictSame(device.extents(PAGE + 1, 10, { extentsMax: 1 }), [{ lengthBytes: 10, flags: 0 }]);
});

t.test('takes any multiple of 512 bytes, and nothing else', async (t) => {
  for (const sizeBytes of [0, -512, 511, 513, 512.5, Number.NaN, 2 ** 54]) {
    t.throws(() => new MemoryDevice(sizeBytes), AssertionError, String(sizeBytes));
  }
  t.match(new MemoryDevice(512).description, /memory/);
  t.equal(new MemoryDevice(512, 'mine').description, 'mine');
});

t.test('is never asked for what it does not have', async (t) => {
  const device = new MemoryDevice(1024);
  t.throws(() => device.read(1000, 25), AssertionError);
  t.throws(() => device.write(1024, Buffer.alloc(1)), AssertionError);
  t.throws(() => device.trim(-1, 1), AssertionError);
});

t.test('[nbd: NBD_CMD_WRITE] whole pages that are written are received in memory of its own', async (t) => {
  const device = new MemoryDevice(3 * PAGE + 512);
  t.equal(device.roomFor(5, 2 * PAGE - 6), undefined, 'no page is written whole');
  t.equal(device.roomFor(3 * PAGE, 512), undefined, 'nor is the last one, which the end cuts');
  t.strictSame(
    device.roomFor(PAGE - 512, 2 * PAGE + 1024)?.pieces.map(({ length }) => length),
    [512, PAGE, PAGE, 512],
  );
  t.throws(() => device.roomFor(PAGE, 2 * PAGE + 513), AssertionError);
  const room = device.roomFor(0, PAGE);
  const page = room?.pieces[0];
  page?.fill(1);
  t.equal(device.allocatedBytes, 0, 'nothing is written before the commit');
  void room?.commit();
  t.equal(device.allocatedBytes, PAGE);
  t.equal((device.read(0, PAGE)[0] as Buffer).buffer, page?.buffer, 'nor copied');
  for (let round = 0; round < 50; round += 1) writeIntoRoom(device, 0, 2 * PAGE);
  t.equal(device.allocatedBytes, 2 * PAGE);
  device.trim(0, 3 * PAGE);
  t.equal(device.allocatedBytes, 0);
});

t.test('what was read stays as it was until its lease ends, and for good without one', async (t) => {
  const device = new MemoryDevice(4 * PAGE);
  const old = Buffer.alloc(2 * PAGE, 'old');
  const changes = [
    () => device.write(0, Buffer.alloc(2 * PAGE, 'new')),
    () => device.write(PAGE - 5, Buffer.from('new bytes')),
    () => device.zero(10, 2 * PAGE - 20),
    () => device.zero(0, 2 * PAGE, { noHole: true }),
    () => device.trim(0, 4 * PAGE),
    () => writeIntoRoom(device, 0, 2 * PAGE),
    () => writeIntoRoom(device, PAGE - 1, PAGE + 1),
  ];
  for (const change of changes) {
    for (const lease of [undefined, new Lease()]) {
      device.write(0, old);
      const early = new Lease();
      const chunks = device.read(0, 2 * PAGE, { lease });
      device.read(0, 2 * PAGE, { lease: early });
      early.end();
      change();
      change();
      t.ok(joinChunks(chunks, 2 * PAGE).equals(old), String(change));
    }
  }
  device.write(0, old);
  const lease = new Lease();
  const chunks = device.read(0, 8, { lease });
  lease.end();
  device.write(0, Buffer.from('in place'));
  t.equal(joinChunks(chunks, 8).toString(), 'in place', 'no copy is made for who has done');
});
