import type { BlockDevice } from '../device/block-device.js';
import { openExtFilesystem } from './ext/ext-filesystem.js';
import { unsupported } from './file-error.js';
import type { FileOptions, Filesystem } from './filesystem.js';
import { recogniseVolume } from './recognition/recognise.js';
import { VolumeReader, type ByteRange } from './volume-reader.js';

/** The types that {@link openFilesystem} can read. */
export const READABLE_TYPES: readonly string[] = ['ext2', 'ext3', 'ext4'];

/**
 * Opens the filesystem in a part of a device, for reading in this process.
 *
 * @param range default: the whole device.
 * @throws {FileError} `ENOTSUP` for what is no filesystem that can be read here, `EIO` for one that is damaged.
 */
export async function openFilesystem(
  device: BlockDevice,
  range?: ByteRange,
  options: FileOptions = {},
): Promise<Filesystem> {
  const contents = await recogniseVolume(new VolumeReader(device, range), options.signal);
  if (contents === undefined) throw unsupported('Cannot find a filesystem there: no signature is known.');
  if (!READABLE_TYPES.includes(contents.type)) {
    throw unsupported(
      `Cannot read ${contents.type} in this process: only ext2, ext3 and ext4. "snapnbd mount" can do the others.`,
    );
  }
  return openExtFilesystem(device, range, options);
}
