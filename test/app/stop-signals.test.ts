import { EventEmitter } from 'node:events';
import t from 'tap';
import { watchStopSignals } from '../../src/app/stop-signals.js';
import { silentLogger } from '../../src/util/logger.js';

class FakeProcess extends EventEmitter {
  readonly exits: number[] = [];
  exit(code: number): void {
    this.exits.push(code);
  }
}

t.test('the first signal asks, the second ends', async (t) => {
  const source = new FakeProcess();
  const stop = watchStopSignals(source, silentLogger);
  t.notOk(stop.signal.aborted);
  source.emit('SIGTERM', 'SIGTERM');
  t.ok(stop.signal.aborted);
  t.strictSame(source.exits, []);
  source.emit('SIGINT', 'SIGINT');
  t.strictSame(source.exits, [130]);
  stop.dispose();
  t.equal(source.listenerCount('SIGINT') + source.listenerCount('SIGTERM'), 0);
});
