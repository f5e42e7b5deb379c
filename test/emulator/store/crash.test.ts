import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { begin, contentsOf, finish, openFolder, put } from '../../fixtures/emulator-folder.js';
import { workFolder } from '../../fixtures/work-folder.js';

/** A folder with a parent and a pending child, closed; and what the child is to hold. */
async function pendingChild(t: Test): Promise<{ dir: string; child: string; expected: [number, number][] }> {
  const dir = workFolder(t);
  const folder = await openFolder(dir);
  const parent = await begin(folder, 2);
  await put(folder, parent.snapshotId, 1, 1);
  await put(folder, parent.snapshotId, 3000, 2);
  await finish(folder, parent.snapshotId, 2);
  const { snapshotId: child } = await begin(folder, 2, parent.snapshotId);
  await put(folder, child, 2, 3);
  await put(folder, child, 3000, 0);
  await folder.close();
  return {
    dir,
    child,
    expected: [
      [1, 1],
      [2, 3],
      [3000, 0],
    ],
  };
}

t.test('a completion that broke off at any step is finished by the next server', async (t) => {
  const { dir, child, expected } = await pendingChild(t);
  const folderOf = (root: string): string => join(root, 'snapshots', child);
  // The files at both ends of a completion, to mix the steps between from.
  const done = workFolder(t);
  cpSync(dir, done, { recursive: true });
  const folder = await openFolder(done);
  t.equal(await finish(folder, child, 2), 'completed');
  await folder.close();
  const metadata = JSON.parse(readFileSync(join(folderOf(dir), 'snapshot.json'), 'utf8')) as object;
  const requested = JSON.stringify({ ...metadata, completion: { changedBlocksCount: 2, checksum: null } });
  const index = readFileSync(join(folderOf(done), 'index'));
  const steps: Record<string, () => void> = {
    requested: () => undefined,
    'index half written': () => writeFileSync(join(folderOf(dir), 'index.new'), index.subarray(0, 100)),
    'index written': () => writeFileSync(join(folderOf(dir), 'index.new'), index),
    'index in place': () => writeFileSync(join(folderOf(dir), 'index'), index),
    'metadata half written': () => writeFileSync(join(folderOf(dir), 'snapshot.json.new'), '{"snap'),
  };
  for (const [step, leave] of Object.entries(steps)) {
    const crashed = workFolder(t);
    writeFileSync(join(folderOf(dir), 'snapshot.json'), requested);
    leave();
    cpSync(dir, crashed, { recursive: true });
    const reopened = await openFolder(crashed);
    t.equal(await finish(reopened, child, 2), 'completed', step);
    t.strictSame([...(await contentsOf(reopened, child))], expected, step);
    await reopened.close();
    t.strictSame(
      readdirSync(folderOf(crashed)).filter((name) => name === 'records'),
      [],
    );
  }
  // Complete, but the records were not removed yet.
  cpSync(join(folderOf(dir), 'records'), join(folderOf(done), 'records'));
  const reopened = await openFolder(done);
  t.strictSame([...(await contentsOf(reopened, child))], expected, 'records left behind');
  await reopened.close();
});

t.test('before it is complete, a snapshot is whole or not there at all', async (t) => {
  const { dir, child } = await pendingChild(t);
  const folder = await openFolder(dir);
  t.teardown(() => folder.close());
  await t.rejects(folder.registry.readableView(child), /ResourceNotFoundException/);
});

t.test('an index that is cut or changed is refused, and never read wrongly', async (t) => {
  const dir = workFolder(t);
  const folder = await openFolder(dir);
  const { snapshotId } = await begin(folder, 2);
  await put(folder, snapshotId, 1, 1);
  await put(folder, snapshotId, 3000, 2);
  await finish(folder, snapshotId, 2);
  await folder.close();
  const path = join(dir, 'snapshots', snapshotId, 'index');
  const index = readFileSync(path);
  const expected = JSON.stringify([
    [1, 1],
    [3000, 2],
  ]);
  const wrong: string[] = [];
  const tryWith = async (what: string, bytes: Buffer): Promise<boolean> => {
    writeFileSync(path, bytes);
    const reopened = await openFolder(dir);
    try {
      const found = JSON.stringify([...(await contentsOf(reopened, snapshotId))]);
      if (found !== expected) wrong.push(`${what}: ${found}`);
      return true;
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('Cannot '))
        wrong.push(`${what}: ${String(error)}`);
      return false;
    } finally {
      await reopened.close();
    }
  };
  t.ok(await tryWith('whole', index));
  let refused = 0;
  for (let at = 0; at < index.length; at++) {
    if (await tryWith(`cut at ${at}`, index.subarray(0, at))) wrong.push(`cut at ${at} was taken`);
    const changed = Buffer.from(index);
    changed[at]! ^= 0x55;
    if (!(await tryWith(`changed at ${at}`, changed))) refused += 1;
  }
  t.strictSame(wrong, []);
  t.ok(refused > index.length - 8, 'all but the unused bytes of the header matter');
});

t.test('what a dead maker left is removed, what a living one makes is not', async (t) => {
  const dir = workFolder(t);
  await (await openFolder(dir)).close();
  const dead = spawnSync('true').pid;
  const gone = join(dir, 'tmp', `${dead}.1.abcdef`);
  const reused = join(dir, 'tmp', `${process.pid}.1.abcdef`);
  const startTime = readFileSync('/proc/self/stat', 'latin1').split(') ')[1]!.split(' ')[19]!;
  const alive = join(dir, 'tmp', `${process.pid}.${startTime}.abcdef`);
  const foreign = join(dir, 'tmp', 'x');
  for (const path of [gone, reused, alive, foreign]) {
    mkdirSync(path);
    writeFileSync(join(path, 'blocks'), 'x');
  }
  await (await openFolder(dir)).close();
  t.notOk(existsSync(gone), 'its process is gone');
  t.notOk(existsSync(reused), 'its process id belongs to a later process');
  t.notOk(existsSync(foreign), 'nobody makes it');
  t.ok(existsSync(alive));
});

t.test('pending snapshots end in error when the machine may have lost writes, and only then', async (t) => {
  const { dir, child } = await pendingChild(t);
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const marker = join(dir, 'boot-id');
  t.equal(readFileSync(marker, 'utf8'), 'clean');
  const stateAfter = async (written: string): Promise<string | undefined> => {
    writeFileSync(marker, written);
    const folder = await openFolder(dir);
    t.equal(readFileSync(marker, 'utf8'), bootId, 'while a server runs');
    const state = (await folder.registry.find(child))?.state;
    await folder.close();
    return state;
  };
  t.equal(await stateAfter('clean'), 'pending', 'another boot, but everything was synchronised');
  t.equal(await stateAfter(`${bootId}\n`), 'pending', 'killed in this boot');
  t.equal(await stateAfter('00000000-0000-0000-0000-000000000000'), 'error', 'killed with the machine');
});
