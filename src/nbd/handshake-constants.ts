/**
 * The values of the handshake phase, in the order of the protocol document ("Values / Handshake phase"). 64-bit magic
 * numbers are given as their two halves, since nothing here computes with 64 bits.
 */

/** What the server says first: "NBDMAGIC", then "IHAVEOPT". [nbd: Newstyle negotiation] */
export const NBD_MAGIC = { high: 0x4e42_444d, low: 0x4147_4943 } as const;
/** "IHAVEOPT": the second half of the greeting, and the beginning of each option. */
export const OPTION_MAGIC = { high: 0x4948_4156, low: 0x454f_5054 } as const;
/** The beginning of each reply to an option. [nbd: Fixed newstyle negotiation] */
export const OPTION_REPLY_MAGIC = { high: 0x0003_e889, low: 0x0455_65a9 } as const;

/** Strings are at most this long, in bytes of UTF-8. [nbd: Conventions] */
export const STRING_BYTES_MAX = 4096;

/** Zeros after the reply to EXPORT_NAME, unless both sides agreed to leave them out. */
export const EXPORT_NAME_PADDING_BYTES = 124;

/** Sent by the server in its greeting, 16 bits. [nbd: Handshake flags] */
export const HandshakeFlag = { FixedNewstyle: 1 << 0, NoZeroes: 1 << 1 } as const;

/** Sent by the client in answer, 32 bits. [nbd: Client flags] */
export const ClientFlag = { FixedNewstyle: 1 << 0, NoZeroes: 1 << 1 } as const;

/** What a client is told about an export, 16 bits. [nbd: Transmission flags] */
export const TransmissionFlag = {
  /** Always set. */
  HasFlags: 1 << 0,
  ReadOnly: 1 << 1,
  SendFlush: 1 << 2,
  SendFua: 1 << 3,
  Rotational: 1 << 4,
  SendTrim: 1 << 5,
  SendWriteZeroes: 1 << 6,
  /** Only once structured replies or extended headers are on. */
  SendDf: 1 << 7,
  CanMultiConn: 1 << 8,
  SendResize: 1 << 9,
  SendCache: 1 << 10,
  SendFastZero: 1 << 11,
  /** Only once extended headers are on and contexts are selected. */
  BlockStatusPayload: 1 << 12,
} as const;

/** What a client may ask for while haggling. [nbd: Option types] */
export const OptionType = {
  ExportName: 1,
  Abort: 2,
  List: 3,
  PeekExport: 4,
  StartTls: 5,
  Info: 6,
  Go: 7,
  StructuredReply: 8,
  ListMetaContext: 9,
  SetMetaContext: 10,
  ExtendedHeaders: 11,
} as const;
export type OptionType = (typeof OptionType)[keyof typeof OptionType];

/** What the server answers; errors have bit 31 set. [nbd: Option reply types] */
export const OptionReplyType = {
  Ack: 1,
  Server: 2,
  Info: 3,
  MetaContext: 4,
  /** The option is not known. */
  ErrUnsup: 0x8000_0001,
  /** The option is known and forbidden. */
  ErrPolicy: 0x8000_0002,
  /** The option is known and badly formed, or out of place. */
  ErrInvalid: 0x8000_0003,
  ErrPlatform: 0x8000_0004,
  /** TLS has to be started first. */
  ErrTlsReqd: 0x8000_0005,
  /** No such export. */
  ErrUnknown: 0x8000_0006,
  /** The server is on its way out. */
  ErrShutdown: 0x8000_0007,
  ErrBlockSizeReqd: 0x8000_0008,
  ErrTooBig: 0x8000_0009,
  /** Extended headers are on, and rule this out. */
  ErrExtHeaderReqd: 0x8000_000a,
} as const;
export type OptionReplyType = (typeof OptionReplyType)[keyof typeof OptionReplyType];

/** The kinds of information about an export. [nbd: NBD_REP_INFO] */
export const InfoType = { Export: 0, Name: 1, Description: 2, BlockSize: 3 } as const;
export type InfoType = (typeof InfoType)[keyof typeof InfoType];
