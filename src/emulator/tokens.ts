import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';

/** The secret of one folder, from which everything below is derived. */
export const TOKEN_KEY_BYTES = 32;

/** What a block token begins with, as those of AWS do; three bytes make four characters. */
const PREFIX = Buffer.from([0, 0, 1, 1, 0x20, 0, 0, 1]);
const CIPHER_BYTES = 64;
const TOKEN_BYTES = PREFIX.length + CIPHER_BYTES;
const PADDED_PREFIX = Buffer.concat([PREFIX], TOKEN_BYTES);
/** 72 bytes are 96 characters, without padding; AWS's have about 95. */
export const BLOCK_TOKEN_LENGTH = (TOKEN_BYTES / 3) * 4;
const UNIT_BYTES = 16;
const UNIT_COUNT = CIPHER_BYTES / UNIT_BYTES;
const INDEX_BYTES = 4;
const EXPIRY_BYTES = 6;
const HASH_PART_BYTES = UNIT_BYTES - INDEX_BYTES - EXPIRY_BYTES;

export const TokenState = { Valid: 'valid', Expired: 'expired', Wrong: 'wrong' } as const;
export type TokenState = (typeof TokenState)[keyof typeof TokenState];

/** Ids whose hashes are kept: the snapshots that are read now. */
const HASHES_MAX = 256;

/**
 * Block tokens: bound to a snapshot and an index, good until a moment. [ebs: Reading / BlockToken]
 *
 * A token is four AES blocks, each of them the index, the expiry and another part of the hash of the snapshot's
 * id. So a page of 10,000 tokens is one call of the cipher, and none of them can be made or changed without the
 * key. They hold across restarts, since the key is kept in the folder.
 */
export class BlockTokens {
  // In this mode a block does not depend on those before it, so one cipher serves for all tokens.
  readonly #cipher: ReturnType<typeof createCipheriv>;
  readonly #decipher: ReturnType<typeof createDecipheriv>;
  readonly #hashes = new Map<string, Buffer>();

  constructor(secret: Buffer) {
    const key = derive(secret, 'block tokens');
    this.#cipher = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false);
    this.#decipher = createDecipheriv('aes-256-ecb', key, null).setAutoPadding(false);
  }

  /** Tokens for blocks of one snapshot, in the order of `blockIndexes`. */
  issue(snapshotId: string, blockIndexes: ArrayLike<number>, expiryMs: number): string[] {
    const count = blockIndexes.length;
    const plain = Buffer.alloc(count * CIPHER_BYTES, this.#template(snapshotId, expiryMs));
    for (let at = 0; at < count; at++) {
      for (let unit = 0; unit < UNIT_COUNT; unit++)
        plain.writeUInt32BE(blockIndexes[at] ?? 0, at * CIPHER_BYTES + unit * UNIT_BYTES);
    }
    const sealed = this.#cipher.update(plain);
    const bytes = Buffer.alloc(count * TOKEN_BYTES, PADDED_PREFIX);
    for (let at = 0; at < count; at++)
      sealed.copy(bytes, at * TOKEN_BYTES + PREFIX.length, at * CIPHER_BYTES, (at + 1) * CIPHER_BYTES);
    const text = bytes.toString('base64');
    return Array.from({ length: count }, (_, at) =>
      text.slice(at * BLOCK_TOKEN_LENGTH, (at + 1) * BLOCK_TOKEN_LENGTH),
    );
  }

  /** Whether `token` opens that block now. */
  check(token: string, snapshotId: string, blockIndex: number, nowMs: number): TokenState {
    const bytes = Buffer.from(token, 'base64');
    if (token.length !== BLOCK_TOKEN_LENGTH || bytes.length !== TOKEN_BYTES) return TokenState.Wrong;
    const plain = this.#decipher.update(bytes.subarray(PREFIX.length));
    const expiryMs = plain.readUIntBE(INDEX_BYTES, EXPIRY_BYTES);
    const expected = this.#template(snapshotId, expiryMs);
    for (let unit = 0; unit < UNIT_COUNT; unit++) expected.writeUInt32BE(blockIndex, unit * UNIT_BYTES);
    if (!plain.equals(expected)) return TokenState.Wrong;
    return nowMs < expiryMs ? TokenState.Valid : TokenState.Expired;
  }

  /** A token before it is sealed, for index 0. */
  #template(snapshotId: string, expiryMs: number): Buffer {
    const plain = Buffer.alloc(CIPHER_BYTES);
    const hash = this.#hashOf(snapshotId);
    for (let unit = 0; unit < UNIT_COUNT; unit++) {
      const offset = unit * UNIT_BYTES;
      plain.writeUIntBE(expiryMs, offset + INDEX_BYTES, EXPIRY_BYTES);
      hash.copy(
        plain,
        offset + INDEX_BYTES + EXPIRY_BYTES,
        unit * HASH_PART_BYTES,
        (unit + 1) * HASH_PART_BYTES,
      );
    }
    return plain;
  }

  #hashOf(snapshotId: string): Buffer {
    let hash = this.#hashes.get(snapshotId);
    if (hash === undefined) {
      hash = createHash('sha256').update(snapshotId).digest();
      if (this.#hashes.size >= HASHES_MAX) this.#hashes.clear();
      this.#hashes.set(snapshotId, hash);
    }
    return hash;
  }
}

/** Where the next page begins. */
export interface PageCursor {
  readonly nextBlockIndex: number;
  /** The page before was made empty on purpose, so this one is not. */
  readonly afterEmptyPage: boolean;
}

const CURSOR_BYTES = 11;
const IV_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Page tokens (NextToken): bound to what is listed, good for 60 minutes. [ebs: Reading / NextToken]
 */
export class PageTokens {
  readonly #key: Buffer;

  constructor(secret: Buffer) {
    this.#key = derive(secret, 'page tokens');
  }

  /** @param listing names the operation and the snapshots; the token is worth nothing elsewhere. */
  issue(listing: string, cursor: PageCursor, expiryMs: number): string {
    const plain = Buffer.alloc(CURSOR_BYTES);
    plain.writeUInt32BE(cursor.nextBlockIndex, 0);
    plain.writeUIntBE(expiryMs, 4, 6);
    plain.writeUInt8(cursor.afterEmptyPage ? 1 : 0, 10);
    const iv = randomBytes(IV_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#key, iv).setAAD(Buffer.from(listing));
    const sealed = Buffer.concat([iv, cipher.update(plain), cipher.final()]);
    return Buffer.concat([sealed, cipher.getAuthTag()]).toString('base64');
  }

  /** The cursor in a token, or undefined when it is wrong or too old. */
  open(token: string, listing: string, nowMs: number): PageCursor | undefined {
    const bytes = Buffer.from(token, 'base64');
    if (bytes.length !== IV_BYTES + CURSOR_BYTES + TAG_BYTES) return undefined;
    const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, IV_BYTES))
      .setAAD(Buffer.from(listing))
      .setAuthTag(bytes.subarray(IV_BYTES + CURSOR_BYTES));
    const plain = decipher.update(bytes.subarray(IV_BYTES, IV_BYTES + CURSOR_BYTES));
    if (!isAuthentic(() => decipher.final())) return undefined;
    if (nowMs >= plain.readUIntBE(4, 6)) return undefined;
    return { nextBlockIndex: plain.readUInt32BE(0), afterEmptyPage: plain.readUInt8(10) === 1 };
  }
}

/** The cipher says that a tag is wrong by throwing. */
function isAuthentic(finish: () => unknown): boolean {
  try {
    finish();
    return true;
  } catch {
    return false;
  }
}

function derive(secret: Buffer, purpose: string): Buffer {
  return createHash('sha256').update(secret).update(purpose).digest();
}
