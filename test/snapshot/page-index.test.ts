import fc from 'fast-check';
import t from 'tap';
import { PageIndex } from '../../src/snapshot/page-index.js';
import { TokenMemory } from '../../src/snapshot/token-memory.js';
import { BlockState, TokenPage } from '../../src/snapshot/token-page.js';

/** A page in which every second block is listed; its tokens say which page it is. */
function pageOf(startIndex: number, endIndex: number, name = 'p'): TokenPage {
  const blocks = [];
  for (let blockIndex = startIndex; blockIndex < endIndex; blockIndex += 2) {
    blocks.push({ blockIndex, blockToken: `${name}${blockIndex}` });
  }
  return TokenPage.of(startIndex, endIndex, 0, blocks)!;
}

t.test('finds the page of a block, and its neighbours', async (t) => {
  const index = new PageIndex<TokenPage>(new TokenMemory(1_000_000));
  const [first, second] = [pageOf(10, 20), pageOf(30, 40)];
  index.insert(second);
  index.insert(first);
  t.equal(index.find(9), undefined);
  t.equal(index.find(10), first);
  t.equal(index.find(19), first);
  t.equal(index.find(20), undefined);
  t.equal(index.find(39), second);
  t.equal(index.find(40), undefined);
  t.same(index.neighbours(5), { before: undefined, after: first });
  t.same(index.neighbours(25), { before: first, after: second });
  t.same(index.neighbours(40), { before: second, after: undefined });
});

t.test('the least recently looked at goes first, the newest never', async (t) => {
  const pages = [0, 100, 200, 300].map((start) => pageOf(start, start + 100));
  const index = new PageIndex<TokenPage>(new TokenMemory(3 * pages[1]!.sizeBytes));
  for (const page of pages.slice(0, 3)) index.insert(page);
  index.find(50);
  index.insert(pages[3]!);
  t.same(
    [50, 150, 250, 350].map((block) => index.find(block) !== undefined),
    [true, false, true, true],
  );
  const tiny = new PageIndex<TokenPage>(new TokenMemory(0));
  for (const page of pages) tiny.insert(page);
  t.equal(tiny.pageCount, 1);
  t.equal(tiny.find(350), pages[3]);
  tiny.close();
  t.equal(tiny.sizeBytes, 0);
  t.equal(tiny.find(350), undefined);
});

t.test('a new page replaces what others say about its range, and nothing else', async (t) => {
  const range = fc
    .tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 1, max: 40 }))
    .map(([start, length]) => ({ start, end: start + length }));
  const property = fc.property(fc.array(range, { maxLength: 20 }), (ranges) => {
    const index = new PageIndex<TokenPage>(new TokenMemory(1_000_000));
    const model = new Map<number, string>();
    for (const [at, { start, end }] of ranges.entries()) {
      const name = `${String.fromCharCode(97 + at)}:`;
      index.insert(pageOf(start, end, name));
      for (let block = start; block < end; block += 1)
        model.set(block, (block - start) % 2 === 0 ? `${name}${block}` : '');
    }
    let sizeBytes = 0;
    let pageCount = 0;
    let last: TokenPage | undefined;
    for (let block = 0; block < 101; block += 1) {
      const page = index.find(block);
      if (page !== undefined && page !== last) {
        sizeBytes += page.sizeBytes;
        pageCount += 1;
        if (page.startIndex !== block || (last?.endIndex ?? 0) > block)
          throw new Error(`pages overlap at ${block}`);
      }
      last = page ?? last;
      const said = page === undefined ? undefined : (page.tokenOf(block) ?? '');
      if (said !== model.get(block)) throw new Error(`block ${block}: ${said ?? 'nothing'}`);
      const run = page?.runAt(block);
      if (run !== undefined && (run.endIndex <= block || run.endIndex > page!.endIndex))
        throw new Error('a run leaves its page');
    }
    if (sizeBytes !== index.sizeBytes || pageCount !== index.pageCount) throw new Error(`${sizeBytes} bytes`);
  });
  const result = fc.check(property, { numRuns: 500 });
  t.notOk(result.failed, fc.defaultReportMessage(result) ?? '');
});

t.test('a page keeps tokens of any length, and says what lies between them', async (t) => {
  const blocks = [
    { blockIndex: 5, blockToken: 'a' },
    { blockIndex: 6, blockToken: 'b'.repeat(256) },
    { blockIndex: 134_217_727, blockToken: 'c+/=' },
  ];
  const page = TokenPage.of(2, 134_217_728, 0, blocks)!;
  for (const { blockIndex, blockToken } of blocks) t.equal(page.tokenOf(blockIndex), blockToken);
  t.equal(page.tokenOf(7), undefined);
  t.equal(page.stateOf(2), BlockState.Unlisted);
  t.equal(page.stateOf(6), BlockState.Listed);
  t.same(page.runAt(2), { state: BlockState.Unlisted, endIndex: 5 });
  t.same(page.runAt(5), { state: BlockState.Listed, endIndex: 7 });
  t.same(page.runAt(7), { state: BlockState.Unlisted, endIndex: 134_217_727 });
  t.same(page.within(3, 6).runAt(5), { state: BlockState.Listed, endIndex: 6 });
  t.same(page.within(3, 5).runAt(4), { state: BlockState.Unlisted, endIndex: 5 });
  t.equal(TokenPage.of(0, 1, 0, [{ blockIndex: 0, blockToken: 'ä' }]), undefined);
  t.ok(pageOf(0, 20_000).sizeBytes < 10_000 * 16, 'little more than the tokens themselves');
});

t.test('the pages of all snapshots share one bound', async (t) => {
  const page = pageOf(0, 100);
  const memory = new TokenMemory(10 * page.sizeBytes);
  const indexes = Array.from({ length: 30 }, () => new PageIndex<TokenPage>(memory));
  for (const index of indexes) index.insert(pageOf(0, 100));
  const kept = (): number[] => indexes.flatMap((index, at) => (index.pageCount > 0 ? [at] : []));
  t.same(kept(), [20, 21, 22, 23, 24, 25, 26, 27, 28, 29]);
  indexes[20]!.find(5);
  indexes[3]!.insert(pageOf(0, 100));
  t.same(kept(), [3, 20, 22, 23, 24, 25, 26, 27, 28, 29]);
  t.equal(memory.sizeBytes, 10 * page.sizeBytes);
  for (const index of indexes) index.close();
  t.equal(memory.sizeBytes, 0);
});
