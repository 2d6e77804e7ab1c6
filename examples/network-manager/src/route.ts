import { BifrostError, type ErrorCode, type NetworkManager, type StatusReason, wirePath } from '@bifrost/sdk';

export interface Request {
  readonly manager: NetworkManager;
  readonly parameters: readonly string[];
  readonly query: URLSearchParams;
  readonly body: unknown;
  readonly actor: string;
  readonly signal: AbortSignal;
}
export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export const ok = (body: unknown): Answer => ({ status: 200, body });
/** The specification's answer, without what only callers in TypeScript are told. */
export const made = <T extends { readonly created: boolean }>({ created: _, ...body }: T): Answer => ({ status: 201, body });
export const isSet = (query: URLSearchParams, name: string): boolean => query.get(name) === 'true';

/** With the path of its reason as callers write it. */
export function seen<T extends { readonly reason?: StatusReason }>(value: T): T {
  const path = value.reason?.path;
  return path === undefined ? value : { ...value, reason: { ...value.reason, path: wirePath(path) } };
}

/** What is wrong with the request itself: a part of it, or the whole body (an empty path). */
export const wrong = (code: ErrorCode, path: string, message: string): BifrostError =>
  new BifrostError({ code, message, issues: [{ path, message }] });

export interface Route {
  readonly method: string;
  readonly path: RegExp;
  readonly run: (request: Request) => Promise<Answer>;
}
