/** The values of the transmission phase, in the order of the protocol document ("Values / Transmission phase"). */

/** Begins a request. [nbd: Request message] */
export const REQUEST_MAGIC = 0x2560_9513;
/** Begins a request when extended headers are on. */
export const EXTENDED_REQUEST_MAGIC = 0x21e4_1c71;
/** Begins a simple reply. [nbd: Simple reply message] */
export const SIMPLE_REPLY_MAGIC = 0x6744_6698;
/** Begins a chunk of a structured reply. [nbd: Structured reply chunk message] */
export const STRUCTURED_REPLY_MAGIC = 0x668e_33ef;
/** Begins a chunk of a reply when extended headers are on. [nbd: Extended reply chunk message] */
export const EXTENDED_REPLY_MAGIC = 0x6e8a_278c;

/** 16 bits in each request. [nbd: Command flags] */
export const CommandFlag = {
  Fua: 1 << 0,
  /** What is zeroed keeps its place. [nbd: NBD_CMD_FLAG_NO_HOLE] */
  NoHole: 1 << 1,
  Df: 1 << 2,
  ReqOne: 1 << 3,
  /** ENOTSUP at once rather than zeroing slowly. [nbd: NBD_CMD_FLAG_FAST_ZERO] */
  FastZero: 1 << 4,
  /** With extended headers: the length is that of a payload. [nbd: NBD_CMD_FLAG_PAYLOAD_LEN] */
  PayloadLen: 1 << 5,
} as const;

/** 16 bits in each chunk of a structured reply. [nbd: Structured reply flags] */
export const ReplyFlag = { Done: 1 << 0 } as const;

/** What a chunk of a structured reply is. [nbd: Structured reply types] */
export const ReplyType = {
  None: 0,
  OffsetData: 1,
  OffsetHole: 2,
  BlockStatus: 5,
  BlockStatusExt: 6,
  Error: 0x8001,
  ErrorOffset: 0x8002,
} as const;
export type ReplyType = (typeof ReplyType)[keyof typeof ReplyType];

/** What a client asks for. [nbd: Request types] */
export const Command = {
  Read: 0,
  Write: 1,
  Disc: 2,
  Flush: 3,
  Trim: 4,
  Cache: 5,
  WriteZeroes: 6,
  BlockStatus: 7,
  Resize: 8,
} as const;
export type Command = (typeof Command)[keyof typeof Command];

/** The name of a command for people, such as READ; a number for one that does not exist. */
export function commandName(type: number): string {
  return COMMAND_NAMES[type] ?? `command ${type}`;
}

const COMMAND_NAMES = [
  'READ',
  'WRITE',
  'DISC',
  'FLUSH',
  'TRIM',
  'CACHE',
  'WRITE_ZEROES',
  'BLOCK_STATUS',
  'RESIZE',
] as const;

/** The only errors that exist on the wire. [nbd: Error values] */
export const WireError = {
  None: 0,
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;
export type WireError = (typeof WireError)[keyof typeof WireError];
