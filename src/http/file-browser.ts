/** An entry of a folder, or a part of a disk. */
export interface BrowsedEntry {
  /** For people: what would steer a terminal or turn the direction of text is escaped. */
  readonly name: string;
  /** For the next request: the name, or a slash and the name's bytes in hexadecimal where they are no UTF-8. */
  readonly key: string;
  readonly kind: 'file' | 'folder' | 'link' | 'other';
  readonly sizeBytes: number;
  /** Milliseconds since 1970; null where there is no such time. */
  readonly modifiedMs: number | null;
  /** Of a link, for people. */
  readonly target?: string;
  /** What it is or why it cannot be read, for people. */
  readonly note?: string;
}

/** What a folder holds, or which parts a disk has. */
export interface BrowsedFolder {
  /** Sorted by name. */
  readonly entries: readonly BrowsedEntry[];
  /** Where the next page begins; null on the last one. Pages follow the order on the disk. */
  readonly next: number | null;
}

/** A file that is read. */
export interface BrowsedFile {
  readonly name: string;
  readonly sizeBytes: number;
  /** All of it, in order: exactly `sizeBytes`, or an error. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** Which folder or file is meant. */
export interface BrowsedPlace {
  readonly exportName: string;
  /** Keys of entries, from the part of the disk on; empty: the parts of the disk. */
  readonly path: readonly string[];
}

/** What a client asked for is not there, or cannot be shown. The message goes to the client. */
export class BrowseError extends Error {
  override readonly name = 'BrowseError';
  /** Of the answer. */
  readonly status: number;

  constructor(status: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
  }
}

/** Reads files out of exports. */
export interface FileBrowser {
  /**
   * Lists a folder.
   *
   * @param from where the page begins: 0, or the `next` of the page before.
   * @throws {BrowseError} with a line for people.
   */
  list(place: BrowsedPlace, from: number, signal: AbortSignal): Promise<BrowsedFolder>;
  /**
   * Calls `use` with a file, which is there until that is done. Links are followed, within their filesystem.
   *
   * @throws {BrowseError} with a line for people.
   */
  read(place: BrowsedPlace, signal: AbortSignal, use: (file: BrowsedFile) => Promise<void>): Promise<void>;
}
