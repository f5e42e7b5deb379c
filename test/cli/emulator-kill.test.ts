import t from 'tap';
import { complete, putBlock, readAll, startSnapshot } from '../fixtures/ebs-calls.js';
import { clientOf } from '../fixtures/ebs-emulator.js';
import { startEmulator } from '../fixtures/emulator.js';
import { seededBytes } from '../fixtures/seeded.js';
import { workFolder } from '../fixtures/work-folder.js';

const block = (name: string): Buffer => seededBytes(name, 524_288);

t.test('what was answered survives SIGKILL, at any moment', async (t) => {
  const dir = workFolder(t);
  let emulator = await startEmulator(t, dir);
  const snapshotId = await startSnapshot(clientOf(t, emulator.url), { VolumeSize: 2, ClientToken: 'token' });
  const answered = new Map<number, Buffer>();
  for (let round = 0; round < 3; round++) {
    const client = clientOf(t, emulator.url);
    const putting = Array.from({ length: 4 }, async (_, lane) => {
      for (let at = 0; at < 1000; at++) {
        const index = (at * 4 + lane) * 7 + round;
        const bytes = block(`${index % 5}`);
        try {
          await putBlock(client, snapshotId, index, bytes);
        } catch {
          return index;
        }
        answered.set(index, bytes);
        if (answered.size === 20 * (round + 1)) process.kill(emulator.process.pid, 'SIGKILL');
      }
      throw new Error('never killed');
    });
    // The puts that broke off are done again, as a client would.
    const broken = await Promise.all(putting);
    await emulator.process.ended;
    emulator = await startEmulator(t, dir);
    for (const index of broken) {
      await putBlock(clientOf(t, emulator.url), snapshotId, index, block(`${index % 5}`));
      answered.set(index, block(`${index % 5}`));
    }
  }
  const client = clientOf(t, emulator.url);
  t.equal(await startSnapshot(client, { VolumeSize: 2, ClientToken: 'token' }), snapshotId);
  t.equal(await complete(client, snapshotId, answered.size), 'completed');
  const read = await readAll(client, snapshotId);
  t.equal(read.size, answered.size);
  for (const [index, bytes] of answered)
    if (read.get(index)?.equals(bytes) !== true) t.fail(`block ${index}`);
});
