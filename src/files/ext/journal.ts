import { damaged, unsupported } from '../file-error.js';
import type { ExtBlocks } from './blocks.js';
import { type JournalledBlock } from './blocks.js';
import {
  commitSecondsOf,
  decodeJournalSuperblock,
  decodeRevokes,
  decodeTags,
  hasSoundCommit,
  hasSoundTail,
  JOURNAL_MAGIC,
  JournalBlockType,
  type JournalShape,
} from './journal-format.js';
import type { MappedRun } from './mapped-run.js';

/** Each costs some 200 bytes of memory. mke2fs makes journals of 262,144 blocks at most by itself. */
const JOURNALLED_BLOCKS_MAX = 1_048_576;
/** Journals are made in one piece; more pieces than this are no journal. */
const RUNS_MAX = 65_536;
/** The tag at the begin of a fast commit: `EXT4_FC_TAG_HEAD`. */
const FAST_COMMIT_HEAD = 9;

/** The blocks of the journal's file, by their number in it. */
class JournalFile {
  readonly #blocks: ExtBlocks;
  readonly #runs: readonly MappedRun[];

  constructor(blocks: ExtBlocks, runs: readonly MappedRun[]) {
    this.#blocks = blocks;
    this.#runs = runs;
  }

  /** Which block of the filesystem it is. */
  diskBlock(block: number): number {
    let low = 0;
    let high = this.#runs.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if ((this.#runs[middle]?.fileBlock ?? 0) <= block) low = middle;
      else high = middle;
    }
    const run = this.#runs[low];
    if (run?.diskBlock === undefined || block < run.fileBlock || block >= run.fileBlock + run.count) {
      throw damaged(`the journal has no block ${block}`);
    }
    return run.diskBlock + (block - run.fileBlock);
  }

  read(block: number, signal?: AbortSignal): Promise<Buffer> {
    return this.#blocks.read(this.diskBlock(block), signal);
  }
}

/** What one transaction would change, until its commit is found. */
interface Transaction {
  readonly copies: Map<number, JournalledBlock>;
  readonly revoked: number[];
  /** One of its own blocks has a wrong checksum: torn, unless it turns out to be committed. */
  isUnsound: boolean;
}

const newTransaction = (): Transaction => ({ copies: new Map(), revoked: [], isUnsound: false });

/**
 * Finds what the journal holds of committed transactions, as the kernel does before it mounts: the blocks as they
 * were written last, less what was revoked after. What was not committed is left out. Only the blocks' places are
 * kept; the copies are read, and their checksums verified, when they are asked for.
 *
 * @param runs the blocks of the journal's own inode.
 * @throws {FileError} `EIO` for a journal that contradicts itself, `ENOTSUP` for one that only Linux can replay.
 */
export async function readJournal(
  blocks: ExtBlocks,
  runs: AsyncIterable<MappedRun>,
  signal?: AbortSignal,
): Promise<ReadonlyMap<number, JournalledBlock>> {
  const file = new JournalFile(blocks, await collectRuns(runs));
  const shape = decodeJournalSuperblock(await file.read(0, signal));
  if (shape.blockBytes !== blocks.blockBytes) throw damaged('the journal has blocks of another size');
  const overlay = new Map<number, JournalledBlock>();
  if (shape.startBlock === 0) return overlay;
  const endSequence = await scan(file, shape, overlay, signal);
  await refuseFastCommits(file, shape, endSequence, signal);
  return overlay;
}

async function collectRuns(runs: AsyncIterable<MappedRun>): Promise<readonly MappedRun[]> {
  const found: MappedRun[] = [];
  for await (const run of runs) {
    if (found.length === RUNS_MAX) throw damaged('the journal is in too many pieces');
    found.push(run);
  }
  return found;
}

/** Goes through the log until it ends. @returns the number of the first transaction that is not committed. */
async function scan(
  file: JournalFile,
  shape: JournalShape,
  overlay: Map<number, JournalledBlock>,
  signal: AbortSignal | undefined,
): Promise<number> {
  const log = { nextBlock: shape.startBlock, leftBlocks: shape.endBlock - shape.firstBlock };
  const take = (): number => {
    const block = log.nextBlock;
    log.nextBlock = block + 1 === shape.endBlock ? shape.firstBlock : block + 1;
    log.leftBlocks -= 1;
    return block;
  };
  let sequence = shape.sequence;
  let lastCommitSeconds = 0;
  let transaction = newTransaction();
  while (log.leftBlocks > 0) {
    const bytes = await file.read(take(), signal);
    if (bytes.readUInt32BE(0) !== JOURNAL_MAGIC || bytes.readUInt32BE(8) !== sequence) return sequence;
    const type = bytes.readUInt32BE(4);
    if (type === JournalBlockType.Descriptor) {
      transaction.isUnsound ||= !hasSoundTail(bytes, shape);
      for (const { block, isEscaped, checksum } of decodeTags(bytes, shape)) {
        // More blocks than the log has: it has no end, and so no commit.
        if (log.leftBlocks <= 0) return sequence;
        transaction.copies.set(block, {
          copyBlock: file.diskBlock(take()),
          isEscaped,
          checksum: checksumOf(checksum, sequence, shape),
        });
      }
    } else if (type === JournalBlockType.Revoke) {
      transaction.isUnsound ||= !hasSoundTail(bytes, shape);
      for (const block of decodeRevokes(bytes, shape)) transaction.revoked.push(block);
    } else if (type === JournalBlockType.Commit && hasSoundCommit(bytes, shape)) {
      const seconds = commitSecondsOf(bytes);
      if (transaction.isUnsound) {
        // The rest of an older log that was numbered alike, or damage, by the rule of the kernel.
        if (seconds < lastCommitSeconds) return sequence;
        throw damaged(`the checksum of a block of transaction ${sequence} of the journal is wrong`);
      }
      lastCommitSeconds = seconds;
      apply(transaction, overlay);
      transaction = newTransaction();
      sequence = (sequence + 1) >>> 0;
    } else {
      return sequence;
    }
    if (overlay.size + transaction.copies.size + transaction.revoked.length > JOURNALLED_BLOCKS_MAX) {
      throw unsupported(
        'Cannot replay the journal: it is larger than 1,048,576 blocks. Mount a fork instead.',
      );
    }
  }
  return sequence;
}

/** A revoke is meant for the copies of its own transaction as well: what is written again after it takes it back. */
function apply({ copies, revoked }: Readonly<Transaction>, overlay: Map<number, JournalledBlock>): void {
  for (const [block, copy] of copies) overlay.set(block, copy);
  for (const block of revoked) overlay.delete(block);
}

function checksumOf(expected: number, sequence: number, shape: JournalShape): JournalledBlock['checksum'] {
  if (shape.checksumVersion === 0) return undefined;
  const mask = shape.checksumVersion === 3 ? 0xffffffff : 0xffff;
  return { seed: shape.checksumSeed, sequence, mask, expected };
}

/**
 * Fast commits describe changes rather than hold blocks, and only ext4 itself can carry them out. Where there are
 * some that are newer than the last whole commit, files without them would be older than they were on the disk.
 */
async function refuseFastCommits(
  file: JournalFile,
  { endBlock, totalBlocks }: JournalShape,
  endSequence: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (endBlock === totalBlocks) return;
  const bytes = await file.read(endBlock, signal);
  if (bytes.readUInt16LE(0) !== FAST_COMMIT_HEAD || bytes.readUInt32LE(8) !== endSequence) return;
  throw unsupported(
    'Cannot replay the journal: it ends with fast commits, which only the kernel can replay. Mount a fork instead ("snapnbd mount --rw").',
  );
}
