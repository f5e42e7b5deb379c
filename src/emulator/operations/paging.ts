import { LIST_RESULTS_MAX, LIST_RESULTS_MIN } from '../../ebs/constants.js';
import { parseInteger, type Constraints } from '../constraints.js';
import { Reason, invalid } from '../errors.js';
import { draw32 } from '../synth/mix.js';
import type { PageCursor } from '../tokens.js';
import type { ApiRequest, OperationContext } from './operation.js';

/** NextToken lives 60 minutes. [ebs: Reading / NextToken] */
export const PAGE_TOKEN_TTL_MS = 60 * 60_000;

/** The service's default is not documented; with this one clients have to page soon. */
const DEFAULT_RESULTS = 1000;

/** Expiry times are earlier than the time to live by up to this share, so that nobody counts on it. */
const EXPIRY_JITTER = 0.01;

/** The fields that both list operations have. */
export interface PageFields {
  readonly startingBlockIndex: number;
  readonly resultsMax: number;
  readonly pageToken: string | undefined;
}

/** Reads the paging fields, and notes what is wrong with them in `constraints`. */
export function readPageFields(query: URLSearchParams, constraints: Constraints): PageFields {
  const resultsMax = parseInteger('maxResults', query.get('maxResults') ?? undefined);
  const startingBlockIndex = parseInteger('startingBlockIndex', query.get('startingBlockIndex') ?? undefined);
  const pageToken = tokenFrom(query, 'pageToken');
  constraints.integer('maxResults', resultsMax, { min: LIST_RESULTS_MIN, max: LIST_RESULTS_MAX });
  constraints.integer('startingBlockIndex', startingBlockIndex, { min: 0 });
  constraints.token('pageToken', pageToken);
  return {
    resultsMax: resultsMax ?? DEFAULT_RESULTS,
    startingBlockIndex: startingBlockIndex ?? 0,
    pageToken,
  };
}

/** A token from the query; a `+` that was not escaped arrives as a space, which no token has. */
export function tokenFrom(query: URLSearchParams, name: string): string | undefined {
  return query.get(name)?.replaceAll(' ', '+');
}

/** What a page is to hold. */
export interface PagePlan {
  readonly fromBlockIndex: number;
  readonly resultsMax: number;
  /** The page is to be empty, and its NextToken to lead to what it would have held. */
  readonly empty: boolean;
}

/**
 * Where the page begins and how long it is. [ebs: Reading / NextToken wins over StartingBlockIndex]
 *
 * @param listing what is listed: a page token of another listing is refused.
 * @throws {ApiError} INVALID_PAGE_TOKEN.
 */
export function planPage(
  context: OperationContext,
  request: ApiRequest,
  listing: string,
  fields: PageFields,
): PagePlan {
  const { pageSize } = context.settings();
  const cursor = openCursor(context, listing, fields.pageToken);
  return {
    fromBlockIndex: cursor?.nextBlockIndex ?? fields.startingBlockIndex,
    resultsMax: Math.min(fields.resultsMax, pageSize ?? LIST_RESULTS_MAX),
    // Never two in a row, so that a listing ends even when every page is to be empty.
    empty: request.faults.emptyPage && cursor?.afterEmptyPage !== true,
  };
}

function openCursor(
  context: OperationContext,
  listing: string,
  pageToken: string | undefined,
): PageCursor | undefined {
  if (pageToken === undefined) return undefined;
  const cursor = context.pageTokens.open(pageToken, listing, context.clock.dateMs());
  if (cursor === undefined)
    throw invalid(Reason.InvalidPageToken, 'The page token is invalid or has expired.');
  return cursor;
}

/** The NextToken of a page, or null after the last one. */
export function nextTokenOf(
  context: OperationContext,
  listing: string,
  cursor: PageCursor | undefined,
): string | null {
  if (cursor === undefined) return null;
  return context.pageTokens.issue(listing, cursor, context.clock.dateMs() + PAGE_TOKEN_TTL_MS);
}

/** When the tokens of a page stop working, in milliseconds since 1970. [ebs: Reading / ExpiryTime] */
export function pageExpiryMs(context: OperationContext, fromBlockIndex: number): number {
  const { tokenTtlMs, seed } = context.settings();
  const jitter = (draw32(seed, 0, fromBlockIndex) / 2 ** 32) * EXPIRY_JITTER;
  return Math.round(context.clock.dateMs() + tokenTtlMs * (1 - jitter));
}
