import t from 'tap';
import { blockOf, emulatorFor, rawRequest } from '../fixtures/ebs-emulator.js';
import { getBlock, listAll, makeSnapshot } from '../fixtures/ebs-calls.js';

const NO_HEADERS = { authorization: undefined, 'x-amz-date': undefined };

async function control(
  url: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<{ status: number; value: Record<string, unknown> }> {
  const bytes =
    body === undefined ? undefined : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  const answer = await rawRequest(url, method, `/_emulator/${path}`, NO_HEADERS, bytes);
  return { status: answer.status, value: answer.json() };
}

t.test('faults: any subset, under the names of the options, answered with what is in force', async (t) => {
  const { url } = await emulatorFor(t);
  const defaults = (await control(url, 'GET', 'faults')).value;
  t.match(defaults, {
    latencyMs: 0,
    getRate: null,
    errorRate: 0,
    seed: 1,
    pageSize: null,
    tokenTtl: 604_800,
  });
  const changed = await control(url, 'POST', 'faults', {
    'error-rate': 0.5,
    corrupt_rate: 0.25,
    getRate: 12.5,
    tokenTtl: '30s',
    readableDelay: 2,
  });
  t.equal(changed.status, 200);
  const expected = {
    ...defaults,
    errorRate: 0.5,
    corruptRate: 0.25,
    getRate: 12.5,
    tokenTtl: 30,
    readableDelay: 2,
  };
  t.strictSame(changed.value, expected);
  t.strictSame((await control(url, 'POST', 'faults', {})).value, expected);
  t.strictSame((await control(url, 'POST', 'faults', defaults)).value, defaults, 'what it gives it takes');
});

t.test('faults: what is wrong is refused as a whole, with its name', async (t) => {
  const { url } = await emulatorFor(t);
  const before = (await control(url, 'GET', 'faults')).value;
  const tries: [unknown, RegExp][] = [
    [{ errorRate: 1.5 }, /errorRate to 1.5: .* from 0 to 1/],
    [{ errorRate: '0.5' }, /errorRate/],
    [{ latencyMs: -1 }, /latencyMs/],
    [{ getRate: 0 }, /getRate/],
    [{ pageSize: 1.5 }, /pageSize/],
    [{ seed: 2 ** 32 }, /seed/],
    [{ tokenTtl: 'soon' }, /soon/],
    [{ tokenTtl: true }, /tokenTtl/],
    [{ speed: 1 }, /"speed": there is none of that name, but latencyMs, getRate/],
    [{ dropRate: 0.5, nonsense: 1 }, /nonsense/],
    [[], /JSON object/],
    ['{', /JSON/],
  ];
  for (const [body, message] of tries) {
    const { status, value } = await control(url, 'POST', 'faults', body);
    t.equal(status, 400, JSON.stringify(body));
    t.match(value.message, message);
  }
  t.strictSame((await control(url, 'GET', 'faults')).value, before);
  t.equal((await control(url, 'GET', 'nothing')).status, 404);
  t.equal((await control(url, 'POST', 'faults', ' '.repeat(70_000))).status, 400);
});

t.test('stats: requests and bytes by operation and status, blocks by snapshot', async (t) => {
  const { url, client, setFaults } = await emulatorFor(t);
  const snapshotId = await makeSnapshot(client, new Map([[3, blockOf(1)]]));
  const { tokens } = await listAll(client, snapshotId);
  await getBlock(client, snapshotId, 3, tokens.get(3));
  await getBlock(client, snapshotId, 3, tokens.get(3));
  await getBlock(client, snapshotId, 3, 'AAAA').catch(() => undefined);
  const { value } = await control(url, 'GET', 'stats');
  t.match(value, {
    operations: {
      StartSnapshot: { requests: 1, byStatus: { 201: { requests: 1 } } },
      PutSnapshotBlock: {
        requests: 1,
        bytesIn: 524_288,
        byStatus: { 201: { bytesIn: 524_288, bytesOut: 2 } },
      },
      GetSnapshotBlock: {
        requests: 3,
        byStatus: { 200: { requests: 2, bytesOut: 2 * 524_288 }, 400: { requests: 1 } },
        byError: { ValidationException: 1 },
        inFlight: 0,
        inFlightMax: 1,
      },
      ListChangedBlocks: { requests: 0 },
    },
    snapshots: {
      [snapshotId]: { listCalls: 1, gets: 2, distinctBlocksGot: 1, puts: 1, distinctBlocksPut: 1 },
    },
  });
  t.type(value.startedAt, 'string');
  t.type(value.uptimeSeconds, 'number');
  const reset = (await control(url, 'POST', 'stats/reset')).value;
  t.match(reset, { requests: 0, bytesOut: 0, snapshots: {} });
  setFaults({ errorRate: 1 });
  await listAll(client, snapshotId).catch(() => undefined);
  t.match((await control(url, 'GET', 'stats')).value, { requests: 1, snapshots: {} });
});
