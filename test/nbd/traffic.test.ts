import t from 'tap';
import { ExportTraffic } from '../../src/nbd/traffic.js';
import { Command } from '../../src/nbd/transmission-constants.js';

t.test('counts each command on its own, and those that do not exist together', async (t) => {
  const traffic = new ExportTraffic();
  t.strictSame([...traffic.commands()], []);
  for (const type of [65_535, Command.Read, Command.Resize, Command.Resize + 1, Command.Read]) {
    traffic.of(type).requests += 1;
  }
  t.strictSame(
    [...traffic.commands()].map(([type, { requests }]) => [type, requests]),
    [
      [Command.Read, 2],
      [Command.Resize, 1],
      [undefined, 2],
    ],
  );
});
