/** The name of the server's socket in the folder of a mount. */
export const SOCKET_NAME = 'nbd.sock';

/** What is attached, and how. */
export interface AttachTask {
  /** Of the mount; the socket of the server is in it. */
  readonly folder: string;
  readonly exportName: string;
  readonly isWritable: boolean;
  /** Called before a device of the kernel is taken, and with null when it was not. */
  readonly onDevice: (device: string | null) => void;
  /** Gives up waiting; what is attached by then stays. */
  readonly signal?: AbortSignal | undefined;
}
