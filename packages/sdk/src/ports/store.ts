import type { SidecarSpec, SidecarState, Stored, TailnetSpec, TailnetState } from '../domain/model.ts';

/** What every call that waits takes: aborting `signal` ends it with `signal.reason` itself. */
export interface CallOptions {
  readonly signal: AbortSignal;
}

/** "Look at this object." */
export interface StoreHint {
  readonly key: string;
  readonly version: string | undefined;
}

/**
 * One kind of stored object. Every write is compare-and-swap: a `Stored` read earlier whose `version` is old is refused.
 * Every method rejects with `signal.reason` itself when aborted.
 *
 * @throws {BifrostError} `STORE_UNAVAILABLE` from any method: the store did not answer; retry with backoff.
 */
export interface Collection<Spec, State> {
  /** The object, or undefined. */
  get(key: string, options: CallOptions): Promise<Stored<Spec, State> | undefined>;
  /** All objects, sorted by key. */
  list(options: CallOptions): Promise<readonly Stored<Spec, State>[]>;
  /** @throws {BifrostError} `STORE_EXISTS` — an object of that key is there (deleting or not). */
  create(key: string, value: { readonly spec: Spec; readonly state: State }, options: CallOptions): Promise<Stored<Spec, State>>;
  /**
   * Replaces the spec and raises `generation`. The same spec again changes nothing, but is refused to an old version all the same.
   *
   * @throws {BifrostError} `STORE_CONFLICT`, `STORE_NOT_FOUND`
   */
  replaceSpec(current: Stored<Spec, State>, spec: Spec, options: CallOptions): Promise<Stored<Spec, State>>;
  /** Replaces the state. @throws {BifrostError} `STORE_CONFLICT`, `STORE_NOT_FOUND` */
  replaceState(current: Stored<Spec, State>, state: State, options: CallOptions): Promise<Stored<Spec, State>>;
  /**
   * Marks the object as deleting; it stays readable until finalized. Absent or already deleting is success. With `current` only as it was read:
   * @throws {BifrostError} `STORE_CONFLICT`
   */
  remove(key: string, options: CallOptions & { readonly current?: Pick<Stored<Spec, State>, 'version'> }): Promise<void>;
  /** Ends a deleting object. Absent is success. @throws {BifrostError} `STORE_CONFLICT` when it is not deleting or its version is old. */
  finalize(current: Stored<Spec, State>, options: CallOptions): Promise<void>;
  /**
   * Hints that an object may have changed: all keys at first, then each change, by any writer. A hint may come twice; none is lost for good:
   * after trouble all keys come again. `version`: which one it is about, so that own writes need not be read again; undefined when it is gone.
   * Ends with `signal.reason` on abort.
   */
  watch(options: CallOptions): AsyncIterable<StoreHint>;
}

/** Where the desired and known state of tailnets and sidecars lives. Tailnets by name; sidecars by `namespace/kind-name`. */
export interface Store extends AsyncDisposable {
  /** The adapter's name, e.g. `memory`, `kubernetes`. */
  readonly kind: string;
  readonly tailnets: Collection<TailnetSpec, TailnetState>;
  readonly sidecars: Collection<SidecarSpec, SidecarState>;
}
