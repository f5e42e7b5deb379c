import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlockDevice } from '../../device/block-device.js';
import type { Volume } from '../../files/disk-layout.js';
import type { Filesystem } from '../../files/filesystem.js';
import type { ByteRange } from '../../files/volume-reader.js';
import { openByGuestfish } from '../../mount/libguestfs/open-guestfish.js';
import type { ExportTable } from '../../nbd/export-table.js';
import { NbdServer } from '../../nbd/server.js';
import type { Logger } from '../../util/logger.js';

export { hasGuestfish } from '../../mount/libguestfs/open-guestfish.js';

/** Which filesystem is read by libguestfs. */
export interface GuestfishReadingTask {
  /** The whole disk. It stays the caller's. */
  readonly device: BlockDevice;
  readonly volume: Volume;
  readonly logger: Logger;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads a filesystem by guestfish, without root and without a driver of this machine's kernel: this process serves the
 * volume, and it alone, on a socket that only its user can connect to.
 *
 * @throws {EnvironmentError} in one line; the signal's reason.
 */
export async function openVolumeByGuestfish({
  device,
  volume,
  logger,
  signal,
}: GuestfishReadingTask): Promise<{
  readonly filesystem: Filesystem;
  readonly close: () => Promise<void>;
}> {
  const folder = mkdtempSync(join(tmpdir(), 'snapnbd-guestfish-'));
  const server = new NbdServer({ exports: only(partOf(device, volume.range)), logger });
  const closeServer = async (): Promise<void> => {
    await server.close();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const socket = join(folder, 'nbd.sock');
    await server.listen({ kind: 'unix', path: socket });
    const opened = await openByGuestfish({ socket, contents: volume.contents, folder, signal });
    const close = async (): Promise<void> => {
      await opened.close();
      await closeServer();
    };
    return { filesystem: opened.filesystem, close };
  } catch (error) {
    await closeServer();
    throw error;
  }
}

/** The default export, and no other. */
function only(device: BlockDevice): ExportTable {
  return {
    list: () => [{ name: '' }],
    acquire: () => Promise.resolve({ name: '', device, release: () => undefined }),
  };
}

/** A part of a device as one of its own, which can be read. */
function partOf(device: BlockDevice, range: ByteRange): BlockDevice {
  const { offset } = range;
  return {
    sizeBytes: Math.min(range.lengthBytes, device.sizeBytes - offset),
    read: (at, lengthBytes, options) => device.read(offset + at, lengthBytes, options),
  };
}
