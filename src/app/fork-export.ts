import type { BlockDevice, ExtentSource } from '../device/block-device.js';
import type { Clock, Timer } from '../util/clock.js';
import { messageOf } from '../util/errors.js';
import type { Logger } from '../util/logger.js';
import type { CommitRequest, CommitResult, Fork } from '../writer/fork.js';
import { CommitError } from '../writer/staging-error.js';
import type { RegisteredExport } from './export-registry.js';
import type { ForkSource } from './export-spec.js';
import type { ForkChanges } from './fork-changes.js';
import { listenForCommands, type ForkControl } from './fork-control.js';
import { openFork, type ForkContext, type OwnedFork } from './fork-opening.js';

/**
 * Opens a fork to be served: with its control socket, and committing by itself where that was asked for. A commit that
 * broke off is finished. If it cannot be served, a fork that was made for it is removed.
 *
 * @throws what {@link openFork} throws.
 */
export async function openForkExport(
  name: string,
  source: ForkSource,
  context: ForkContext,
): Promise<RegisteredExport> {
  const owned = await openFork(name, source, 'snapnbd serve', { ...context, putsQuietBlocks: true });
  const served = new ServedFork(owned, context.clock, context.logger.child({ fork: name }));
  let metaContexts = owned.fork.device.metaContexts;
  try {
    if ('since' in source) metaContexts = await served.compare(source.since, context);
    await served.start(context.forks.commitEveryMs);
  } catch (error) {
    await served.undo();
    throw error;
  }
  return {
    name,
    device: withClose(owned.fork, metaContexts, () => served.close()),
    fork: owned.fork,
    usersChanged: (userCount, saidGoodbye) => {
      served.userCount = userCount;
      if (saidGoodbye && userCount === 0 && context.forks.commitsOnDisconnect === true)
        served.commitUnattended();
    },
  };
}

class ServedFork {
  userCount = 0;
  readonly #owned: OwnedFork;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #control: ForkControl | undefined;
  #changes: ForkChanges | undefined;
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(owned: OwnedFork, clock: Clock, logger: Logger) {
    this.#owned = owned;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Compares it with other snapshots. @returns all contexts of the fork. */
  async compare(
    since: readonly string[],
    { connection, hasOneBitmap, clock, signal }: ForkContext,
  ): Promise<ReadonlyMap<string, ExtentSource>> {
    const { ForkChanges } = await import('./fork-changes.js');
    const options = { api: connection.api, since, hasOneBitmap, logger: this.#logger, clock, signal };
    this.#changes = await ForkChanges.open(this.#owned.fork, options);
    return this.#changes.metaContexts;
  }

  async start(commitEveryMs: number | undefined): Promise<void> {
    const { fork, path } = this.#owned;
    this.#control = await listenForCommands(path, (request, onProgress) => {
      const { wishes, live, noWait } = request;
      return this.#commit(live, { ...wishes, onProgress, noWait, atLastFlush: this.userCount > 0 });
    });
    if (fork.isCommitting) this.#commitUnasked('finishing a commit that broke off');
    if (commitEveryMs !== undefined) this.#schedule(commitEveryMs);
  }

  /** Commits after the last client has gone. */
  commitUnattended(): void {
    if (!this.#isClosed) this.#commitUnasked('committing, as the last client has disconnected');
  }

  async close(): Promise<void> {
    await this.#end();
    await this.#owned.close();
  }

  /** The same for an export that has come to nothing: a fork that was made for it is removed. */
  async undo(): Promise<void> {
    await this.#end();
    await this.#owned.undo();
  }

  async #end(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#changes?.close();
    await this.#control?.close();
  }

  #commit(isLive: boolean, request: CommitRequest): Promise<CommitResult> {
    const { fork } = this.#owned;
    if (!isLive && this.userCount > 0 && !fork.isCommitting) {
      const clients = this.userCount === 1 ? 'A client is' : `${this.userCount} clients are`;
      throw new CommitError(
        `Cannot commit "${fork.store.state.origin.name}": ${clients} connected. Disconnect first, or commit the disk as it was last flushed with --live.`,
      );
    }
    return fork.commit(request);
  }

  #schedule(intervalMs: number): void {
    this.#timer = this.#clock.setTimer(intervalMs, () => {
      this.#commitUnasked('committing');
      if (!this.#isClosed) this.#schedule(intervalMs);
    });
  }

  #commitUnasked(message: string): void {
    const { fork } = this.#owned;
    this.#logger.info(message);
    fork
      .commit({ atLastFlush: this.userCount > 0 })
      .then(({ snapshotId, isNew }) => this.#logger.info('committed', { snapshotId, isNew }))
      .catch((error: unknown) => {
        if (!this.#isClosed)
          this.#logger.error('a commit failed; everything is staged', { error: messageOf(error) });
      });
  }
}

/** The device of a fork, whose closing closes all of it. */
function withClose(
  { device }: Fork,
  metaContexts: ReadonlyMap<string, ExtentSource>,
  close: () => Promise<void>,
): BlockDevice {
  return {
    sizeBytes: device.sizeBytes,
    get description() {
      return device.description;
    },
    multiConnection: device.multiConnection,
    fastZero: device.fastZero,
    read: (offset, lengthBytes, options) => device.read(offset, lengthBytes, options),
    readInto: (offset, lengthBytes, target, start) => device.readInto(offset, lengthBytes, target, start),
    write: (offset, data, options) => device.write(offset, data, options),
    flush: (options) => device.flush(options),
    trim: (offset, lengthBytes, options) => device.trim(offset, lengthBytes, options),
    zero: (offset, lengthBytes, options) => device.zero(offset, lengthBytes, options),
    cache: (offset, lengthBytes, options) => device.cache(offset, lengthBytes, options),
    extents: (offset, lengthBytes, options) => device.extents(offset, lengthBytes, options),
    metaContexts,
    close,
  };
}
