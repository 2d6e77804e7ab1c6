import { createHash } from 'node:crypto';
import type { Plain } from './convert.ts';
import { wrong } from './rest-error.ts';

const DEFAULT_SIZE = 100;
const MAX_SIZE = 1000;

export interface PageRequest {
  readonly pageSize: number;
  readonly pageToken: string;
  /** What the list was narrowed by: a token is good for the same filter only. */
  readonly filter: Readonly<Record<string, unknown>>;
}

/** What a list call asks for; what is no page is its filter. */
export function pageRequestOf(request: Plain): PageRequest {
  const { pageSize, pageToken, ...filter } = request as { readonly pageSize: number; readonly pageToken: string } & Plain;
  return { pageSize, pageToken, filter };
}

export interface Page<Item> {
  readonly items: readonly Item[];
  readonly nextPageToken: string;
}

const mark = (filter: PageRequest['filter']): string => createHash('sha256').update(JSON.stringify(filter)).digest('base64url').slice(0, 16);

const tokenOf = (after: string, filter: PageRequest['filter']): string => Buffer.from(`${mark(filter)}${after}`).toString('base64url');

function after({ pageToken, filter }: PageRequest): string | undefined {
  if (pageToken === '') return undefined;
  const text = Buffer.from(pageToken, 'base64url').toString('utf8');
  if (Buffer.from(text).toString('base64url') !== pageToken) throw wrong('pageToken', 'is not one that a list answered');
  if (!text.startsWith(mark(filter))) throw wrong('pageToken', 'belongs to a list with another filter');
  return text.slice(mark(filter).length);
}

/**
 * One page of a list that is sorted by `keyOf`. A token says the last key that was seen, so that what comes and goes meanwhile shifts nothing.
 *
 * @throws {BifrostError} `INVALID_ARGUMENT` with the path `pageSize` or `pageToken`
 */
export function pageOf<Item>(items: readonly Item[], keyOf: (item: Item) => string, request: PageRequest): Page<Item> {
  if (request.pageSize > MAX_SIZE) throw wrong('pageSize', `must be at most ${MAX_SIZE}`);
  const size = request.pageSize === 0 ? DEFAULT_SIZE : request.pageSize;
  const seen = after(request);
  const rest = seen === undefined ? items : items.filter((item) => keyOf(item) > seen);
  const page = rest.slice(0, size);
  const last = page.at(-1);
  return { items: page, nextPageToken: last === undefined || rest.length <= size ? '' : tokenOf(keyOf(last), request.filter) };
}
