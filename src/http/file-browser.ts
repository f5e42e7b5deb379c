/** An entry of a folder, or the top of a filesystem. */
export interface BrowsedEntry {
  readonly name: string;
  readonly kind: 'file' | 'folder' | 'link' | 'other';
  readonly sizeBytes: number;
  /** Milliseconds since 1970. */
  readonly modifiedMs: number;
  /** Of a link. */
  readonly target?: string;
}

/** What a folder holds, or which filesystems a disk has. */
export interface BrowsedFolder {
  readonly entries: readonly BrowsedEntry[];
  /** There were more than are shown. */
  readonly isCut: boolean;
}

/** A file that is read. */
export interface BrowsedFile {
  readonly name: string;
  readonly sizeBytes: number;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** What a client asked for is not there, or cannot be shown. The message goes to the client. */
export class BrowseError extends Error {}

/** Reads files out of exports. */
export interface FileBrowser {
  /**
   * Lists a folder.
   *
   * @param path of names, from the partition on; empty: the filesystems of the disk.
   * @throws {BrowseError} with a line for people.
   */
  list(exportName: string, path: readonly string[], signal: AbortSignal): Promise<BrowsedFolder>;
  /** @throws {BrowseError} with a line for people. */
  open(exportName: string, path: readonly string[], signal: AbortSignal): Promise<BrowsedFile>;
}
