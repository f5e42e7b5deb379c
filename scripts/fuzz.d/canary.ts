import { connect } from 'node:net';
import { CMD, type RequestParts } from '../../test/fixtures/nbd-bytes.js';
import { RawNbdClient } from '../../test/fixtures/nbd-raw-client.js';
import { GUARDED, type Target } from './target.js';

/** What the guarded disk is full of: it must never be seen by an input, in no answer. */
export const SECRET = Buffer.from('9d1f6b0c-KEEP-OUT-of-other-hands');

const CONTENT = Buffer.alloc(GUARDED.sizeBytes, SECRET);

/** A well-behaved client beside the others: one of it stays connected, and one comes anew each time. */
export class Canary {
  readonly #target: Target;
  readonly #resident: RawNbdClient;
  /** How often it was answered rightly. */
  lookCount = 0;

  private constructor(target: Target, resident: RawNbdClient) {
    this.#target = target;
    this.#resident = resident;
  }

  /** Fills the guarded disk. */
  static async release(target: Target): Promise<Canary> {
    const canary = new Canary(target, await enter(target));
    await exchange(canary.#resident, { type: CMD.WRITE, payload: CONTENT });
    return canary;
  }

  /** @throws {Error} when an answer is wrong, or does not come. */
  async look(): Promise<void> {
    await this.#check(this.#resident);
    const visitor = await enter(this.#target);
    await this.#check(visitor);
    visitor.send({ type: CMD.DISC });
    await visitor.ended;
    visitor.stream.destroy();
    this.lookCount += 1;
  }

  leave(): void {
    this.#resident.stream.destroy();
  }

  async #check(client: RawNbdClient): Promise<void> {
    const offset = 4096 * (this.lookCount % 8);
    const length = GUARDED.sizeBytes - offset;
    const bytes = await exchange(client, { type: CMD.READ, offset, length }, length);
    if (!bytes.equals(CONTENT.subarray(offset))) throw new Error('the canary was given wrong bytes');
  }
}

async function enter(target: Target): Promise<RawNbdClient> {
  const client = await RawNbdClient.greet(connect(target.socketPath));
  const { size } = await client.go(GUARDED.name);
  if (size !== BigInt(GUARDED.sizeBytes)) throw new Error(`the canary was told a size of ${size}`);
  return client;
}

async function exchange(client: RawNbdClient, request: RequestParts, dataBytes = 0): Promise<Buffer> {
  client.send(request);
  const { error, payload } = await client.readSimple(dataBytes);
  if (error !== 0) throw new Error(`the canary was answered with error ${error ?? ''}`);
  return payload;
}
