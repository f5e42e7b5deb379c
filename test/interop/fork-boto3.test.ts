// What a commit made is read by boto3, which shares no code with snapnbd, and equals a model of the disk.
import { join } from 'node:path';
import t from 'tap';
import { CREDENTIALS, startEmulator } from '../fixtures/emulator.js';
import { needsPython, PROGRAMS_TIMEOUT_MS } from '../fixtures/programs.js';
import { mustRun } from '../fixtures/run-program.js';
import { serve, snapshotIdFrom } from '../fixtures/serving.js';
import { workFolder } from '../fixtures/work-folder.js';

t.setTimeout(PROGRAMS_TIMEOUT_MS);

const SCRIPT = join(import.meta.dirname, '../fixtures/fork-model.py');

t.test(
  'two snapshots, the second over the first',
  { ...needsPython('boto3'), ...needsPython('nbd') },
  async (t) => {
    const folder = workFolder(t);
    const emulator = await startEmulator(t, join(folder, 'emulator'));
    const none = join(folder, 'none');
    const env = {
      ...CREDENTIALS,
      AWS_DEFAULT_REGION: 'us-east-1',
      AWS_CONFIG_FILE: none,
      AWS_SHARED_CREDENTIALS_FILE: none,
    };
    const state = ['--state-dir', join(folder, 'state')];
    const options = [...state, '--endpoint-url', emulator.url];
    const served = await serve(t, { exports: ['d=blank:1GiB'], options, env });
    const model = join(folder, 'model');
    for (const seed of ['1', '2']) {
      await mustRun('/usr/bin/python3', [SCRIPT, 'write', served.unix('d'), model, seed]);
      const snapshotId = await snapshotIdFrom(t, ['commit', 'd', ...state]);
      const found = await mustRun('/usr/bin/python3', [SCRIPT, 'read', emulator.url, snapshotId, model], {
        env,
      });
      t.match(found, /^1[0-9] blocks, different: \[\]\n$/);
    }
  },
);
