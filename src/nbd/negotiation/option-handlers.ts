import { OptionType } from '../handshake-constants.js';
import { handleAbort } from './option-abort.js';
import { handleExportName } from './option-export-name.js';
import { handleGo, handleInfo } from './option-info.js';
import { handleList } from './option-list.js';
import { handleListMetaContext, handleSetMetaContext } from './option-meta-context.js';
import { handleStartTls } from './option-start-tls.js';
import { handleExtendedHeaders, handleStructuredReply } from './option-structured-reply.js';
import type { NegotiationSession } from './session.js';

/**
 * Answers one option, all of whose data are there.
 *
 * @throws {ProtocolError} when the data are malformed.
 */
export type OptionHandler = (session: NegotiationSession, data: Buffer) => void;

/** The options that this server knows. [nbd: Option types] */
export const OPTION_HANDLERS: ReadonlyMap<number, OptionHandler> = new Map<number, OptionHandler>([
  [OptionType.ExportName, handleExportName],
  [OptionType.Abort, handleAbort],
  [OptionType.List, handleList],
  [OptionType.StartTls, handleStartTls],
  [OptionType.Info, handleInfo],
  [OptionType.Go, handleGo],
  [OptionType.StructuredReply, handleStructuredReply],
  [OptionType.ListMetaContext, handleListMetaContext],
  [OptionType.SetMetaContext, handleSetMetaContext],
  [OptionType.ExtendedHeaders, handleExtendedHeaders],
]);
