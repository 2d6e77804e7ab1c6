import { isDeepStrictEqual } from 'node:util';
import { BifrostError, type ErrorCode } from '@bifrost/types/core';
import type { SidecarSpec, SidecarState, Stored, TailnetSpec, TailnetState } from '../../domain/model.ts';
import type { Clock } from '../../ports/clock.ts';
import type { CallOptions, Collection, Store, StoreHint } from '../../ports/store.ts';
import { Faults } from './faults.ts';
import { HintHub } from './hint-hub.ts';

/** Options of {@link MemoryStore}. */
export interface MemoryStoreOptions {
  readonly clock: Pick<Clock, 'nowMs'>;
  /** Different keys that may wait for a slow watch, beyond those present at its start, before it gets all keys again. @default 1024 */
  readonly watchCapacity?: number;
}

/**
 * The Store in this process's memory: for embedded managers and for tests. What it holds ends with the process.
 * Values are copied on the way in, and frozen: what is given out is the stored value itself. Several managers in one process may share one instance.
 */
export class MemoryStore implements Store {
  readonly kind = 'memory';
  readonly tailnets: Collection<TailnetSpec, TailnetState>;
  readonly sidecars: Collection<SidecarSpec, SidecarState>;
  readonly #faults = new Faults();
  readonly #hubs: readonly HintHub[];

  constructor({ clock, watchCapacity = 1024 }: MemoryStoreOptions) {
    const hubs = { tailnets: new HintHub(watchCapacity), sidecars: new HintHub(watchCapacity) };
    this.tailnets = new MemoryCollection<TailnetSpec, TailnetState>({ clock, faults: this.#faults, hub: hubs.tailnets });
    this.sidecars = new MemoryCollection<SidecarSpec, SidecarState>({ clock, faults: this.#faults, hub: hubs.sidecars });
    this.#hubs = Object.values(hubs);
  }

  /** The next call of a collection's method, whichever it is, fails with `code`; a second `failNext` waits for the call after it. Watches are not concerned. */
  failNext(code: ErrorCode): void {
    this.#faults.failNext(code);
  }

  /** Ends the watches. What is stored stays readable, so that tests can look at it afterwards. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const hub of this.#hubs) hub.close();
  }
}

class MemoryCollection<Spec, State> implements Collection<Spec, State> {
  readonly #objects = new Map<string, Stored<Spec, State>>();
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #faults: Faults;
  readonly #hub: HintHub;
  #lastVersion = 0;

  constructor(parts: { readonly clock: Pick<Clock, 'nowMs'>; readonly faults: Faults; readonly hub: HintHub }) {
    this.#clock = parts.clock;
    this.#faults = parts.faults;
    this.#hub = parts.hub;
  }

  async get(key: string, options: CallOptions): Promise<Stored<Spec, State> | undefined> {
    this.#faults.enter(options);
    return this.#objects.get(key);
  }

  async list(options: CallOptions): Promise<readonly Stored<Spec, State>[]> {
    this.#faults.enter(options);
    return this.#sortedKeys().flatMap((key) => this.#objects.get(key) ?? []);
  }

  async create(key: string, value: { readonly spec: Spec; readonly state: State }, options: CallOptions): Promise<Stored<Spec, State>> {
    this.#faults.enter(options);
    if (this.#objects.has(key)) throw new BifrostError({ code: 'STORE_EXISTS', message: `${key} is there already`, details: { key } });
    const { spec, state } = value;
    return this.#write({ key, version: '', generation: 1, createdAtMs: this.#clock.nowMs(), deleting: false, spec, state });
  }

  async replaceSpec(current: Stored<Spec, State>, spec: Spec, options: CallOptions): Promise<Stored<Spec, State>> {
    this.#faults.enter(options);
    const kept = this.#expect(current);
    if (isDeepStrictEqual(kept.spec, spec)) return kept;
    return this.#write({ ...kept, spec, generation: kept.generation + 1 });
  }

  async replaceState(current: Stored<Spec, State>, state: State, options: CallOptions): Promise<Stored<Spec, State>> {
    this.#faults.enter(options);
    return this.#write({ ...this.#expect(current), state });
  }

  async remove(key: string, { current, ...options }: CallOptions & { readonly current?: Pick<Stored<Spec, State>, 'version'> }): Promise<void> {
    this.#faults.enter(options);
    const kept = this.#objects.get(key);
    if (kept === undefined) return;
    if (current !== undefined) this.#expect({ key, version: current.version });
    if (!kept.deleting) this.#write({ ...kept, deleting: true });
  }

  async finalize(current: Stored<Spec, State>, options: CallOptions): Promise<void> {
    this.#faults.enter(options);
    if (!this.#objects.has(current.key)) return;
    if (!this.#expect(current).deleting) throw conflict(current.key, 'is not deleting');
    this.#objects.delete(current.key);
    this.#hub.notify(current.key);
  }

  async *watch(options: CallOptions): AsyncGenerator<StoreHint, void, void> {
    for await (const key of this.#hub.watch(() => this.#sortedKeys(), options)) yield { key, version: this.#objects.get(key)?.version };
  }

  #expect({ key, version }: Pick<Stored<Spec, State>, 'key' | 'version'>): Stored<Spec, State> {
    const kept = this.#objects.get(key);
    if (kept === undefined) throw new BifrostError({ code: 'STORE_NOT_FOUND', message: `${key} is not there`, details: { key } });
    if (kept.version !== version) throw conflict(key, 'was changed meanwhile: read it again');
    return kept;
  }

  #write(value: Stored<Spec, State>): Stored<Spec, State> {
    this.#lastVersion += 1; // never reused, so a successor of the same name has another version
    const written = deepFreeze(structuredClone({ ...value, version: String(this.#lastVersion) }));
    this.#objects.set(value.key, written);
    this.#hub.notify(value.key);
    return written;
  }

  #sortedKeys(): string[] {
    return [...this.#objects.keys()].sort();
  }
}

function deepFreeze<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null) return value;
  for (const member of Object.values(value)) deepFreeze(member);
  return Object.freeze(value);
}

function conflict(key: string, why: string): BifrostError {
  return new BifrostError({ code: 'STORE_CONFLICT', message: `${key} ${why}`, details: { key } });
}
