import { BifrostError } from '@bifrost/types/core';
import type { Logger } from '../../ports/logger.ts';
import { isWatchEvent, type WatchEvent } from './answer-shapes.ts';
import { type ApiList, type ApiObject, METADATA_ONLY } from './api-types.ts';
import { type KubernetesConnection, RELIST_MS } from './connection.ts';
import { clusterError, problemOf } from './errors.ts';
import type { KubernetesOperation } from './operations.ts';
import { Backoff, pause } from './pause.ts';

export type Change<Item> = { readonly kind: 'present' | 'gone'; readonly uid: string; readonly item: Item };

export interface ListWatchOptions<Source extends ApiObject, Item> {
  readonly connection: KubernetesConnection;
  /** Names of its two requests. */
  readonly operations: { readonly list: KubernetesOperation; readonly watch: KubernetesOperation };
  /** Of its objects. */
  readonly kind: string;
  /** The collection's path. */
  readonly path: string;
  readonly labelSelector?: string;
  /** Ask for metadata only: a hint needs no more. */
  readonly metadataOnly?: boolean;
  /** What is kept of an object. Keep little: it stays in memory for each object. */
  readonly project: (object: Source) => Item;
  readonly pageSize?: number;
  /** Silence after which the connection counts as dead. The server sends a bookmark each minute. @default 150000 */
  readonly idleTimeoutMs?: number;
  readonly backoff?: { readonly minMs?: number; readonly maxMs?: number };
}

/** HTTP status of "the version that you ask for is too old". */
const EXPIRED = '410';
/** A watch that lived this long was well, and so was one that brought something and ended in order. */
const WELL_AFTER_MS = 10_000;

/**
 * A cache of one collection that follows the API server: list, then watch, for ever, until disposed. What breaks is begun again with
 * backoff; only "410 Gone", lines that are no events and events out of their order list anew. An event that never came is found by listing anew
 * from time to time: others read this cache, so a lost one may cost time, not truth. After a list what is new or changed is told, and what went
 * meanwhile as gone.
 */
export class ListWatch<Source extends ApiObject, Item> implements AsyncDisposable {
  readonly #options: ListWatchOptions<Source, Item>;
  readonly #logger: Logger;
  readonly #backoff: Backoff;
  readonly #items = new Map<string, Item>();
  readonly #versions = new Map<string, string>();
  readonly #listeners = new Set<(change: Change<Item>) => void>();
  readonly #stop = new AbortController();
  #waiting = Promise.withResolvers<void>();
  #synced = false;
  #running: Promise<void> | undefined;
  /** Where the next watch begins; undefined: with a list. */
  #version: string | undefined;
  #listedAtMs = 0;

  constructor(options: ListWatchOptions<Source, Item>) {
    this.#options = options;
    this.#logger = options.connection.logger;
    this.#backoff = new Backoff(options.backoff);
    this.#waiting.promise.catch(() => undefined);
  }

  get items(): ReadonlyMap<string, Item> {
    return this.#items;
  }

  /** Aborts when this is disposed. */
  get closed(): AbortSignal {
    return this.#stop.signal;
  }

  /** Begins, if it has not; waits for nothing. */
  start(): void {
    if (this.#stop.signal.aborted) return;
    this.#running ??= this.#run();
  }

  /** Resolves once the first list is in; rejects with what the next attempt to get it fails with. Attempts go on all the same. */
  async synced(): Promise<void> {
    this.#stop.signal.throwIfAborted();
    this.start();
    if (!this.#synced) await this.#waiting.promise;
  }

  /** `listener` first gets all present items, then each change. What it throws is logged. */
  subscribe(listener: (change: Change<Item>) => void): Disposable {
    this.start();
    for (const [uid, item] of this.#items) this.#tell(listener, { kind: 'present', uid, item });
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(stopped());
    this.#settle(stopped());
    await this.#running;
    this.#listeners.clear();
    this.#items.clear();
    this.#versions.clear();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const begunAtMs = performance.now();
      try {
        this.#version ??= await this.#list(signal);
        const brought = await this.#watchUntilStale(this.#version, signal);
        // A server that ends each watch at once must not be asked in a tight loop.
        if (brought || performance.now() - begunAtMs > WELL_AFTER_MS) this.#backoff.reset();
        else await pause(this.#backoff.next(), signal);
      } catch (error) {
        if (signal.aborted) return;
        if (performance.now() - begunAtMs > WELL_AFTER_MS) this.#backoff.reset();
        if (!BifrostError.is(error) || error.details['status'] === EXPIRED) this.#version = undefined;
        const waitMs = this.#backoff.next(BifrostError.is(error) ? error.retryAfterMs : undefined);
        this.#report(error, waitMs);
        await pause(waitMs, signal);
      }
    }
  }

  async #list(signal: AbortSignal): Promise<string> {
    const seen = new Map<string, Source>();
    let version: string | undefined;
    let next: string | undefined;
    do {
      const page = await this.#page(next, signal);
      for (const object of page.items ?? []) seen.set(object.metadata.uid, object);
      version ??= page.metadata.resourceVersion;
      next = page.metadata.continue || undefined;
    } while (next !== undefined);
    this.#replace(seen);
    this.#listedAtMs = performance.now();
    return version;
  }

  async #page(next: string | undefined, signal: AbortSignal): Promise<ApiList<Source>> {
    const { connection, operations, kind, path, labelSelector, metadataOnly, pageSize = 500 } = this.#options;
    const query = { labelSelector, limit: pageSize, continue: next };
    const accept = metadataOnly ? { accept: METADATA_ONLY.list } : {};
    const answer = await connection.send<ApiList<Source>>({
      operation: operations.list,
      kind: `${kind}List`,
      method: 'GET',
      path,
      query,
      ...accept,
      signal,
    });
    if (!answer.ok) throw clusterError(answer.problem, `list ${path}`);
    return answer.body;
  }

  /** Tells what differs from what was there. */
  #replace(seen: ReadonlyMap<string, Source>): void {
    for (const [uid, item] of this.#items) if (!seen.has(uid)) this.#forget(uid, item);
    for (const [uid, object] of seen) if (this.#versions.get(uid) !== object.metadata.resourceVersion) this.#keep(object);
    this.#synced = true;
    this.#settle();
  }

  /** Follows until the server ends the stream, or it is time for a new list, which is no trouble; true when all is well. */
  async #watchUntilStale(from: string, signal: AbortSignal): Promise<boolean> {
    const { relistMs = RELIST_MS } = this.#options.connection;
    const leftMs = relistMs * (0.5 + Math.random() / 2) - (performance.now() - this.#listedAtMs); // not all at the same time
    const stale = AbortSignal.timeout(Math.max(1, Math.round(leftMs)));
    try {
      return await this.#watch(from, AbortSignal.any([signal, stale]));
    } catch (error) {
      if (!stale.aborted || signal.aborted) throw error;
      this.#version = undefined;
      return true;
    }
  }

  /** Follows until the server ends the stream; true when it brought a change. */
  async #watch(from: string, signal: AbortSignal): Promise<boolean> {
    const { connection, operations, kind, path, labelSelector, metadataOnly, idleTimeoutMs = 150_000 } = this.#options;
    const timeoutSeconds = Math.round(240 + Math.random() * 120);
    const query = { watch: true, allowWatchBookmarks: true, resourceVersion: from, labelSelector, timeoutSeconds };
    const expected = metadataOnly ? { kind, accept: METADATA_ONLY.object } : { kind };
    let brought = false;
    for await (const event of connection.stream({ operation: operations.watch, path, query, ...expected, signal, idleTimeoutMs })) {
      if (!isWatchEvent<Source>(event, expected)) throw doubtful(path, 'a line is no event');
      if (event.type === 'ERROR') throw clusterError(problemOf(event.object.code ?? 500, event.object, undefined), `watch ${path}`);
      const { resourceVersion } = event.object.metadata;
      if (isOlder(resourceVersion, this.#version)) throw doubtful(path, 'events came out of their order');
      if (event.type !== 'BOOKMARK' && resourceVersion !== this.#version) this.#apply(event); // else it has come before
      brought ||= event.type !== 'BOOKMARK';
      this.#version = resourceVersion;
    }
    return brought;
  }

  #apply({ type, object }: Exclude<WatchEvent<Source>, { type: 'BOOKMARK' | 'ERROR' }>): void {
    if (type === 'DELETED') this.#forget(object.metadata.uid, this.#options.project(object));
    else this.#keep(object);
  }

  #keep(object: Source): void {
    const { uid, resourceVersion } = object.metadata;
    const item = this.#options.project(object);
    this.#items.set(uid, item);
    this.#versions.set(uid, resourceVersion);
    for (const listener of this.#listeners) this.#tell(listener, { kind: 'present', uid, item });
  }

  #forget(uid: string, item: Item): void {
    this.#items.delete(uid);
    this.#versions.delete(uid);
    for (const listener of this.#listeners) this.#tell(listener, { kind: 'gone', uid, item });
  }

  #tell(listener: (change: Change<Item>) => void, change: Change<Item>): void {
    try {
      listener(change);
    } catch (error) {
      this.#logger.log('error', 'a listener of a watch failed', { path: this.#options.path, error: String(error) });
    }
  }

  /** Whoever waits for the first list learns of this outcome. */
  #settle(error?: BifrostError): void {
    const { resolve, reject } = this.#waiting;
    if (!this.#synced) {
      this.#waiting = Promise.withResolvers<void>();
      this.#waiting.promise.catch(() => undefined);
    }
    if (error === undefined) resolve();
    else reject(error);
  }

  #report(error: unknown, waitMs: number): void {
    const known = BifrostError.is(error) ? error : new BifrostError({ code: 'CLUSTER_UNAVAILABLE', message: 'a watch failed', cause: error });
    this.#logger.log('warn', 'a watch broke; it is begun again', { path: this.#options.path, code: known.code, waitMs: Math.round(waitMs) });
    this.#settle(known);
  }
}

/** Versions are numbers that grow along a watch; a server that writes them otherwise is taken at its word. */
function isOlder(version: string, than: string | undefined): boolean {
  if (than === undefined || !/^\d+$/.test(version) || !/^\d+$/.test(than)) return false;
  return version.length === than.length ? version < than : version.length < than.length;
}

/** What the cache holds may be older than what went by: only a list tells. */
const doubtful = (path: string, why: string): BifrostError =>
  new BifrostError({ code: 'CLUSTER_UNAVAILABLE', message: `watch ${path}: ${why}`, details: { status: EXPIRED } });

const stopped = (): BifrostError => new BifrostError({ code: 'MANAGER_STOPPED', message: 'the watch is closed' });
