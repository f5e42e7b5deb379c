import { createHash, type Hash } from 'node:crypto';
import { endianness } from 'node:os';
import { BLOCK_BYTES } from '../../ebs/constants.js';
import { BODY_COUNT, Purpose, TAIL_BYTES } from './purpose.js';
import { GOLDEN, draw32, mix32 } from './mix.js';

/** Seeds whose bodies are kept: 32 MiB each once all bodies have been used. */
const SEEDS_MAX = 2;

/** A block of a synthetic snapshot. */
export interface SynthBlock {
  /** The first 520,192 bytes, shared with other blocks: not to be changed. */
  readonly body: Buffer;
  /** The last 4096 bytes, of this block alone. */
  readonly tail: Buffer;
  /** SHA-256 of both. */
  readonly digest: Buffer;
}

interface Body {
  readonly bytes: Buffer;
  /** SHA-256 as it stands after the body. */
  readonly hash: Hash;
}

/**
 * Computes the blocks of synthetic snapshots.
 *
 * Hashing a block costs six times what making it costs, so the rule is made for it: a block is one of 64 bodies
 * and a tail of its own. Bodies are kept with the state of their hash, which leaves 4 KiB to make and to hash for
 * each block. Every 64 neighbours have 64 different bodies, so a block that is read in another's place shows.
 */
export class SynthBlocks {
  readonly #bodies = new Map<number, (Body | undefined)[]>();

  /** @param seed from 0 to 2^32 - 1. */
  block(seed: number, blockIndex: number): SynthBlock {
    const group = Math.floor(blockIndex / BODY_COUNT);
    const body = this.#body(seed, (blockIndex + draw32(seed, Purpose.BodyRotation, group)) % BODY_COUNT);
    const tail = words(TAIL_BYTES, draw32(seed, Purpose.Tail, blockIndex));
    return { body: body.bytes, tail, digest: body.hash.copy().update(tail).digest() };
  }

  #body(seed: number, bodyIndex: number): Body {
    const bodies = this.#bodiesOf(seed);
    const known = bodies[bodyIndex];
    if (known !== undefined) return known;
    const bytes = words(BLOCK_BYTES - TAIL_BYTES, draw32(seed, Purpose.Body, bodyIndex));
    const body = { bytes, hash: createHash('sha256').update(bytes) };
    bodies[bodyIndex] = body;
    return body;
  }

  #bodiesOf(seed: number): (Body | undefined)[] {
    let bodies = this.#bodies.get(seed);
    if (bodies === undefined) {
      const [oldest] = this.#bodies.keys();
      if (oldest !== undefined && this.#bodies.size >= SEEDS_MAX) this.#bodies.delete(oldest);
      bodies = new Array<Body | undefined>(BODY_COUNT).fill(undefined);
      this.#bodies.set(seed, bodies);
    }
    return bodies;
  }
}

/** Word k, a little-endian u32, is mix32(start + k * GOLDEN). */
function words(lengthBytes: number, start: number): Buffer {
  const values = new Uint32Array(lengthBytes / Uint32Array.BYTES_PER_ELEMENT);
  let counter = start;
  for (let k = 0; k < values.length; k++) {
    values[k] = mix32(counter);
    counter = (counter + GOLDEN) | 0;
  }
  const bytes = Buffer.from(values.buffer);
  return endianness() === 'LE' ? bytes : bytes.swap32();
}
