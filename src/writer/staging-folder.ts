/**
 * The part of a file system that staging needs: the seam where tests put one that forgets what was not synced.
 * Everything throws the system's errors, with their `code`.
 */
export interface StagingFolder {
  /** For people: where it is. */
  readonly path: string;
  /** Opens a file for reading and writing; `create` makes it when there is none. @throws ENOENT without `create`. */
  open(name: string, options: { readonly create: boolean }): Promise<StagingFile>;
  /** The names of the files. */
  list(): Promise<readonly string[]>;
  /** Replaces `to`. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file; there may be none. */
  remove(name: string): Promise<void>;
  /** Makes durable which names there are, and what they stand for. */
  sync(): Promise<void>;
}

/** An open file. Requests may overlap in time; those that overlap in place are kept apart by the caller. */
export interface StagingFile {
  sizeBytes(): Promise<number>;
  /** Reads until `target` is full or the file ends. Returns the number of bytes. */
  read(target: Uint8Array, position: number): Promise<number>;
  /** As `read`, without waiting for anything but the disk. */
  readNow(target: Uint8Array, position: number): number;
  /** Writes all of `data`, at once where that is quicker than waiting. The file grows as needed, with holes. */
  write(data: Uint8Array, position: number): void | Promise<void>;
  /** Makes durable what was written before the call (fdatasync). */
  sync(): Promise<void>;
  close(): Promise<void>;
}
