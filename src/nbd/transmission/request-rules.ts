import { isWithin } from '../../util/ranges.js';
import type { RequestHeader } from '../codec/request-header.js';
import { TransmissionFlag } from '../handshake-constants.js';
import { Command, CommandFlag, WireError } from '../transmission-constants.js';

/** What requests are held against. */
export interface RequestRules {
  readonly sizeBytes: number;
  /** What the client was told that it may use. */
  readonly transmissionFlags: number;
  /** The greatest payload of one request, in bytes. */
  readonly payloadBytesMax: number;
  /** Extended headers are on, so that payloads are marked by a flag. */
  readonly isExtended: boolean;
  /** There are contexts for BLOCK_STATUS to answer for. */
  readonly hasContexts: boolean;
}

/** The rules for one command. */
interface CommandRule {
  /** The transmission flag that has to be set for the command to exist; 0 for those that always do. */
  readonly exposedBy: number;
  /** The command flags that it documents, beside FUA. */
  readonly flags: number;
  /** It changes the device. */
  readonly isWrite: boolean;
  /** It carries or returns as many bytes as its length says. */
  readonly hasPayload: boolean;
  /** What a range past the end is answered with. [nbd-rule 24] */
  readonly pastEnd: WireError;
}

const COMMAND_RULES: ReadonlyMap<number, CommandRule> = new Map<number, CommandRule>([
  // [nbd: NBD_CMD_READ]
  [
    Command.Read,
    { exposedBy: 0, flags: CommandFlag.Df, isWrite: false, hasPayload: true, pastEnd: WireError.EINVAL },
  ],
  // [nbd: NBD_CMD_WRITE]
  [
    Command.Write,
    {
      exposedBy: 0,
      flags: CommandFlag.PayloadLen,
      isWrite: true,
      hasPayload: true,
      pastEnd: WireError.ENOSPC,
    },
  ],
  // [nbd: NBD_CMD_FLUSH] Its offset and length are reserved, and zero.
  [
    Command.Flush,
    {
      exposedBy: TransmissionFlag.SendFlush,
      flags: 0,
      isWrite: false,
      hasPayload: false,
      pastEnd: WireError.EINVAL,
    },
  ],
  // [nbd: NBD_CMD_TRIM]
  [
    Command.Trim,
    {
      exposedBy: TransmissionFlag.SendTrim,
      flags: 0,
      isWrite: true,
      hasPayload: false,
      pastEnd: WireError.EINVAL,
    },
  ],
  // [nbd: NBD_CMD_CACHE]
  [
    Command.Cache,
    {
      exposedBy: TransmissionFlag.SendCache,
      flags: 0,
      isWrite: false,
      hasPayload: false,
      pastEnd: WireError.EINVAL,
    },
  ],
  // [nbd: NBD_CMD_BLOCK_STATUS]
  [
    Command.BlockStatus,
    {
      exposedBy: 0,
      flags: CommandFlag.ReqOne | CommandFlag.PayloadLen,
      isWrite: false,
      hasPayload: false,
      pastEnd: WireError.EINVAL,
    },
  ],
  // [nbd: NBD_CMD_WRITE_ZEROES]
  [
    Command.WriteZeroes,
    {
      exposedBy: TransmissionFlag.SendWriteZeroes,
      flags: CommandFlag.NoHole | CommandFlag.FastZero,
      isWrite: true,
      hasPayload: false,
      pastEnd: WireError.ENOSPC,
    },
  ],
]);

/** Holds a request against the rules, before anything is done for it. @returns the error to answer with, or None. */
export function checkRequest(request: RequestHeader, rules: RequestRules): WireError {
  const rule = COMMAND_RULES.get(request.type);
  // [nbd: Error values] An unknown command: EINVAL, connection kept. [nbd-rule 26]
  if (rule === undefined) return WireError.EINVAL;
  // [nbd: NBD_FLAG_READ_ONLY; nbd-rule 13, 24]
  if (rule.isWrite && (rules.transmissionFlags & TransmissionFlag.ReadOnly) !== 0) return WireError.EPERM;
  if (rule.exposedBy !== 0 && (rules.transmissionFlags & rule.exposedBy) === 0) return WireError.EINVAL;
  if ((request.flags & ~allowedFlags(request, rule, rules)) !== 0) return WireError.EINVAL;
  if (!isWellFormed(request, rules)) return WireError.EINVAL;
  if (!isWithin(request.offset, request.lengthBytes, rules.sizeBytes)) return rule.pastEnd;
  // [nbd: Block size constraints]
  if (rule.hasPayload && request.lengthBytes > rules.payloadBytesMax) return WireError.EINVAL;
  return WireError.None;
}

/** What some commands need beside a range within the export. */
function isWellFormed(request: RequestHeader, rules: RequestRules): boolean {
  switch (request.type) {
    case Command.Flush:
      return request.offset === 0 && request.lengthBytes === 0;
    case Command.BlockStatus:
      // [nbd: Metadata querying] Nothing selected: nothing to say. An empty range has no extents. [nbd-rule 32, 40]
      return rules.hasContexts && request.lengthBytes > 0;
    default:
      return true;
  }
}

/**
 * The flags that a command may have. FUA goes with every command, since it is always advertised; the others with the
 * commands that document them, and only where they were advertised. [nbd: Command flags; nbd-rule 26]
 */
function allowedFlags(request: RequestHeader, rule: CommandRule, rules: RequestRules): number {
  const { transmissionFlags } = rules;
  let flags = rule.flags | CommandFlag.Fua;
  if ((transmissionFlags & TransmissionFlag.SendDf) === 0) flags &= ~CommandFlag.Df;
  if ((transmissionFlags & TransmissionFlag.SendFastZero) === 0) flags &= ~CommandFlag.FastZero;
  const isPayloadOffered =
    rules.isExtended &&
    (request.type !== Command.BlockStatus || (transmissionFlags & TransmissionFlag.BlockStatusPayload) !== 0);
  if (!isPayloadOffered) flags &= ~CommandFlag.PayloadLen;
  return flags;
}
