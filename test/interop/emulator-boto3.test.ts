// boto3 round-trips a snapshot through the emulator; with `Expect: 100-continue`, as it sends its bodies.
import { join } from 'node:path';
import t from 'tap';
import { emulatorFor } from '../fixtures/ebs-emulator.js';
import { CREDENTIALS } from '../fixtures/emulator.js';
import { needsPython } from '../fixtures/programs.js';
import { mustRun } from '../fixtures/run-program.js';
import { workFolder } from '../fixtures/work-folder.js';

const SCRIPT = join(import.meta.dirname, '../fixtures/ebs-round-trip.py');

t.test('start, put, complete, list, get, changed blocks, errors', { ...needsPython('boto3') }, async (t) => {
  const { url, stats } = await emulatorFor(t);
  const none = join(workFolder(t), 'none');
  const env = {
    ...CREDENTIALS,
    AWS_DEFAULT_REGION: 'us-east-1',
    AWS_CONFIG_FILE: none,
    AWS_SHARED_CREDENTIALS_FILE: none,
  };
  const seen = JSON.parse(await mustRun('/usr/bin/python3', [SCRIPT, url], { env })) as Record<
    string,
    unknown
  >;
  t.ok(Math.abs(Number(seen.start_time) - Date.now() / 1000) < 600);
  delete seen.start_time;
  t.strictSame(seen, {
    tags: [{ Key: 'Name', Value: 'disk' }],
    status: ['pending', 201],
    parent: true,
    child: true,
    changed: [
      [7, true, true],
      [9, false, true],
    ],
    errors: [
      ['ResourceNotFoundException', 'SNAPSHOT_NOT_FOUND', 404],
      ['ValidationException', 'INVALID_BLOCK_TOKEN', 400],
      ['ValidationException', 'UNRELATED_SNAPSHOTS', 400],
      ['ValidationException', 'INVALID_PARAMETER_VALUE', 400],
      ['InvalidSignatureException', null, 403],
    ],
    wrong_count: ['error', ['ResourceNotFoundException', 'SNAPSHOT_NOT_FOUND', 404]],
  });
  t.equal(stats().operations.PutSnapshotBlock.byStatus['201']?.requests, 5);
});
