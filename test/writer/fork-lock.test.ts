import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { BALLAST_NAME, keepBallast, withBallast } from '../../src/writer/ballast.js';
import { ForkLock } from '../../src/writer/fork-lock.js';
import { ownIdentity } from '../../src/writer/process-identity.js';
import { workFolder } from '../fixtures/work-folder.js';

const SUBJECT = 'the fork "x"';

function holderOf(pid: number, nonce: string): string {
  return JSON.stringify({ ...ownIdentity(), pid, startTime: '1', nonce, purpose: 'snapnbd serve' });
}

t.test('one has it; the other is told who', async (t) => {
  const folder = workFolder(t);
  const lock = await ForkLock.take(folder, 'snapnbd serve', SUBJECT);
  await t.rejects(ForkLock.take(folder, 'snapnbd commit', SUBJECT), {
    name: 'EnvironmentError',
    message: `Cannot use the fork "x": process ${process.pid} (snapnbd serve) has it. Stop that one first.`,
  });
  await lock.release();
  t.strictSame(readdirSync(folder), []);
  await (await ForkLock.take(folder, 'snapnbd commit', SUBJECT)).release();
});

t.test('of many at once, exactly one gets a stale lock', async (t) => {
  const { pid } = spawnSync('true');
  for (const stale of [holderOf(pid, 'first'), holderOf(process.pid, 'pid in use by another'), '']) {
    const folder = workFolder(t);
    writeFileSync(join(folder, 'lock'), stale);
    // Whoever was to follow it died as well.
    writeFileSync(join(folder, 'lock.after-first'), holderOf(pid, 'second'));
    const tries = Array.from({ length: 20 }, () => ForkLock.take(folder, 'snapnbd serve', SUBJECT));
    const outcomes = await Promise.allSettled(tries);
    const winners = outcomes.filter(({ status }) => status === 'fulfilled');
    t.equal(winners.length, 1);
    t.strictSame(readdirSync(folder), ['lock'], 'nothing is left lying about');
  }
});

t.test('a process of another container cannot be judged', async (t) => {
  const folder = workFolder(t);
  const other = { ...ownIdentity(), pidNamespace: 'pid:[1]', nonce: 'n', purpose: 'snapnbd serve' };
  writeFileSync(join(folder, 'lock'), JSON.stringify(other));
  await t.rejects(ForkLock.take(folder, 'snapnbd commit', SUBJECT), { message: /another container/ });
  t.equal(readFileSync(join(folder, 'lock'), 'utf8'), JSON.stringify(other));
});

t.test('the lock of another run of the machine is stale', async (t) => {
  const folder = workFolder(t);
  const other = { ...ownIdentity(), bootId: 'another', nonce: 'n', purpose: 'snapnbd serve' };
  writeFileSync(join(folder, 'lock'), JSON.stringify(other));
  await (await ForkLock.take(folder, 'snapnbd commit', SUBJECT)).release();
});

t.test('on a full disk, what was kept makes the room that is needed', async (t) => {
  const folder = workFolder(t);
  await keepBallast(folder);
  t.ok(statSync(join(folder, BALLAST_NAME)).blocks >= 128, '64 KiB that are there');
  const full = Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  const write = async (): Promise<string> => {
    if (readdirSync(folder).includes(BALLAST_NAME)) throw full;
    return 'written';
  };
  t.equal(await withBallast(folder, write), 'written');
  await t.rejects(
    withBallast(folder, () => Promise.reject(full)),
    { code: 'ENOSPC' },
  );
  const denied = Object.assign(new Error('denied'), { code: 'EACCES' });
  await keepBallast(folder);
  await t.rejects(
    withBallast(folder, () => Promise.reject(denied)),
    { code: 'EACCES' },
  );
  t.strictSame(readdirSync(folder), [BALLAST_NAME]);
});
