import t from 'tap';
import { StatusLine } from '../../src/cli/status-line.js';

function record(isTTY: boolean): {
  target: { isTTY: boolean; columns: number; write(text: string): void };
  text: () => string;
} {
  let written = '';
  return { target: { isTTY, columns: 12, write: (text) => void (written += text) }, text: () => written };
}

t.test('draws over itself, not too often, and never longer than the terminal', async (t) => {
  const { target, text } = record(true);
  let nowMs = 0;
  const line = new StatusLine(target, () => nowMs);
  line.show('one');
  nowMs = 50;
  line.show('too soon');
  nowMs = 150;
  line.show('longer than twelve');
  line.interrupt('a warning\n');
  line.clear();
  line.clear();
  t.equal(text(), '\r\u001b[Kone\r\u001b[Klonger than\r\u001b[Ka warning\nlonger than\r\u001b[K');
});

t.test('without a terminal only the lines that stay', async (t) => {
  const { target, text } = record(false);
  const line = new StatusLine(target);
  line.show('one');
  line.interrupt('a warning\n');
  line.clear();
  t.equal(text(), 'a warning\n');
});
