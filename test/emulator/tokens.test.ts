import t from 'tap';
import { BlockTokens, PageTokens, TokenState } from '../../src/emulator/tokens.js';

const SNAPSHOT = 'snap-0123456789abcdef0';

t.test('[ebs: Reading / BlockToken] bound to snapshot, index, moment and folder', async (t) => {
  const tokens = new BlockTokens(Buffer.alloc(32, 1));
  const [token] = tokens.issue(SNAPSHOT, [77], 5000);
  t.equal(tokens.check(token!, SNAPSHOT, 77, 4999), TokenState.Valid);
  t.equal(tokens.check(token!, SNAPSHOT, 77, 5000), TokenState.Expired);
  t.equal(tokens.check(token!, SNAPSHOT, 78, 0), TokenState.Wrong);
  t.equal(tokens.check(token!, 'snap-0123456789abcdef1', 77, 0), TokenState.Wrong);
  t.equal(new BlockTokens(Buffer.alloc(32, 1)).check(token!, SNAPSHOT, 77, 0), TokenState.Valid);
  t.equal(new BlockTokens(Buffer.alloc(32, 2)).check(token!, SNAPSHOT, 77, 0), TokenState.Wrong);
});

t.test('[ebs: Reading / BlockToken] no character can be changed', async (t) => {
  const tokens = new BlockTokens(Buffer.alloc(32, 1));
  const [token] = tokens.issue(SNAPSHOT, [0], 5000);
  // The first characters are the same in every token, as those of AWS are.
  for (let at = 11; at < token!.length; at++) {
    const changed = token!.slice(0, at) + (token![at] === 'A' ? 'B' : 'A') + token!.slice(at + 1);
    if (tokens.check(changed, SNAPSHOT, 0, 0) !== TokenState.Wrong) t.fail(`character ${at}`);
  }
  for (const text of ['', 'A', 'A'.repeat(96), '=', 'not base64!', token!.slice(1), `${token!}A`])
    t.equal(tokens.check(text, SNAPSHOT, 0, 0), TokenState.Wrong);
});

t.test('a page of tokens: distinct, of the characters that the model allows', async (t) => {
  const tokens = new BlockTokens(Buffer.alloc(32, 1));
  const page = tokens.issue(
    SNAPSHOT,
    new Uint32Array(10_000).map((_, at) => at * 13_000),
    5000,
  );
  t.equal(new Set(page).size, 10_000);
  t.ok(page.every((token) => token.length === 96 && /^[A-Za-z0-9+/=]+$/.test(token)));
  t.equal(tokens.check(page[9_999]!, SNAPSHOT, 9_999 * 13_000, 0), TokenState.Valid);
  t.strictSame(tokens.issue(SNAPSHOT, [], 5000), []);
});

t.test('[ebs: Reading / NextToken] bound to its listing and moment', async (t) => {
  const tokens = new PageTokens(Buffer.alloc(32, 1));
  const cursor = { nextBlockIndex: 134_217_727, afterEmptyPage: true };
  const token = tokens.issue('blocks a', cursor, 5000);
  t.match(token, /^[A-Za-z0-9+/=]{1,256}$/);
  t.strictSame(tokens.open(token, 'blocks a', 4999), cursor);
  t.equal(tokens.open(token, 'blocks a', 5000), undefined);
  t.equal(tokens.open(token, 'blocks b', 0), undefined);
  for (let at = 0; at < token.length - 1; at++) {
    const changed = token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
    if (tokens.open(changed, 'blocks a', 0) !== undefined) t.fail(`character ${at}`);
  }
  t.equal(tokens.open('AAAA', 'blocks a', 0), undefined);
});
