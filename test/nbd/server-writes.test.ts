// Writes on real sockets: whole, and kept apart while more comes.
import t from 'tap';
import { type BlockDevice } from '../../src/device/block-device.js';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { CMD, requestBytes } from '../fixtures/nbd-bytes.js';
import { seededBytes, seededNumbers } from '../fixtures/seeded.js';
import { serveDevice, until } from '../fixtures/served-device.js';

t.test('[nbd-rule 39] a write within a block is whole for everybody, also while it is read', async (t) => {
  const { open } = await serveDevice(t);
  const writers = await Promise.all([open(), open()]);
  const reader = await open();
  await Promise.all([...writers, reader].map((client) => client.go()));
  const rounds = 200;
  for (let round = 0; round < rounds; round += 1) {
    writers.forEach((writer, index) => {
      writer.send({ type: CMD.WRITE, offset: 512, payload: Buffer.alloc(3000, 2 * round + index) });
    });
    reader.send({ type: CMD.READ, offset: 512, length: 3000 });
  }
  let torn = 0;
  for (let round = 0; round < rounds; round += 1) {
    await Promise.all(writers.map((writer) => writer.readSimple()));
    const { payload } = await reader.readSimple(3000);
    if (!payload.equals(Buffer.alloc(3000, payload[0]))) torn += 1;
  }
  t.equal(torn, 0);
});

t.test('what a device works on stays as it came while more comes', async (t) => {
  // Looks at the payload only when all of them have come.
  const disk = new MemoryDevice(2 ** 26);
  const count = 400;
  const waiting: (() => void)[] = [];
  const device: BlockDevice = {
    sizeBytes: disk.sizeBytes,
    read: (offset, lengthBytes) => disk.read(offset, lengthBytes),
    write: async (offset, data) => {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
      });
      disk.write(offset, data);
    },
  };
  const { open } = await serveDevice(t, device, { limits: { requestsInFlightMax: count } });
  const client = await open();
  await client.go();
  const random = seededNumbers('payloads that wait');
  const payloads = Array.from({ length: count }, (_, index) =>
    Buffer.alloc(random(4) === 0 ? 20_000 + random(100_000) : 1 + random(5000), index % 251),
  );
  let offset = 0;
  for (const payload of payloads) {
    client.send({ type: CMD.WRITE, offset, payload });
    offset += payload.length;
  }
  await until(() => waiting.length === count);
  for (const resume of waiting) resume();
  for (const payload of payloads) t.equal((await client.readSimple()).error, 0, `${payload.length} bytes`);
  client.send({ type: CMD.READ, offset: 0, length: offset });
  t.ok((await client.readSimple(offset)).payload.equals(Buffer.concat(payloads)));
});

t.test(
  '[nbd: NBD_CMD_WRITE] large writes are received in the device’s own memory, whole or not at all',
  async (t) => {
    const device = new MemoryDevice(2 ** 22);
    let roomCount = 0;
    const roomFor = device.roomFor.bind(device);
    device.roomFor = (offset, lengthBytes) => {
      roomCount += 1;
      return roomFor(offset, lengthBytes);
    };
    const { server, open } = await serveDevice(t, device);
    const client = await open();
    await client.go();
    const random = seededNumbers('large writes in a row');
    const model = Buffer.alloc(device.sizeBytes);
    const send = (offset: number, lengthBytes: number): void => {
      const payload = seededBytes(`${offset} ${lengthBytes}`, lengthBytes);
      client.send({ type: CMD.WRITE, offset, payload });
      payload.copy(model, offset);
    };
    const count = 60;
    for (let round = 0; round < count; round += 1) {
      const lengthBytes = [2 ** 18, 2 ** 19, 1 + random(2 ** 20), 1 + random(5000)][random(4)]!;
      const limit = device.sizeBytes - lengthBytes;
      send(random(2) === 0 ? random(limit) : Math.floor(random(limit) / 2 ** 18) * 2 ** 18, lengthBytes);
    }
    for (let round = 0; round < count; round += 1) t.equal((await client.readSimple()).error, 0);
    t.ok(roomCount > 20, `${roomCount} of them`);
    client.send({ type: CMD.READ, offset: 0, length: device.sizeBytes });
    t.ok((await client.readSimple(device.sizeBytes)).payload.equals(model));
    const leaving = await open();
    await leaving.go();
    const broken = requestBytes({ type: CMD.WRITE, offset: 0, payload: Buffer.alloc(2 ** 18, 1) });
    const roomsBefore = roomCount;
    leaving.write(broken.subarray(0, -1));
    await until(() => roomCount > roomsBefore);
    leaving.stream.destroy();
    await until(() => server.connectionCount === 1);
    client.send({ type: CMD.READ, offset: 0, length: device.sizeBytes });
    t.ok((await client.readSimple(device.sizeBytes)).payload.equals(model), 'a write that was cut off');
  },
);
