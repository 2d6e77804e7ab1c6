import { BifrostError } from '@bifrost/types/core';
import { expect } from 'vitest';
import type { StoredTailnet } from '../../domain/model.ts';
import type { CallOptions, Collection, Store } from '../../ports/store.ts';
import { exampleTailnetSpec, exampleTailnetState } from './store-examples.ts';

export type OpenStore = () => Promise<Store>;
export interface StoreBench {
  readonly store: Store;
  /** A tailnet name that nobody used before; what it names is gone after the case. */
  readonly name: () => string;
}

export const call = (): CallOptions => ({ signal: AbortSignal.timeout(10_000) });
export const code = (expected: string): { readonly code: string } => ({ code: expected });

export async function bench(open: OpenStore, run: (bench: StoreBench) => Promise<void>): Promise<void> {
  await using store = await open();
  const names: string[] = [];
  await using _ended = cleanup(async () => {
    for (const key of names) await endObject(store.tailnets, key);
  });
  const name = (): string => {
    const fresh = `suite-${crypto.randomUUID().slice(0, 13)}`;
    names.push(fresh);
    return fresh;
  };
  await run({ store, name });
}

export function cleanup(run: () => Promise<void>): AsyncDisposable {
  return { [Symbol.asyncDispose]: run };
}

export function createTailnet(store: Store, key: string): Promise<StoredTailnet> {
  return store.tailnets.create(key, { spec: exampleTailnetSpec(), state: exampleTailnetState() }, call());
}

export async function present(store: Store, key: string): Promise<StoredTailnet> {
  const found = await store.tailnets.get(key, call());
  if (found === undefined) throw new BifrostError({ code: 'STORE_NOT_FOUND', message: `the suite expected ${key} to be there` });
  return found;
}

export async function endObject<Spec, State>(collection: Collection<Spec, State>, key: string): Promise<void> {
  await collection.remove(key, call());
  const marked = await collection.get(key, call());
  if (marked !== undefined) await collection.finalize(marked, call());
}

export async function hintOf(hints: AsyncIterator<{ readonly key: string }>, key: string): Promise<void> {
  for (;;) {
    const next = await hints.next();
    if (next.done === true) throw new BifrostError({ code: 'STORE_UNAVAILABLE', message: `the watch ended before a hint of ${key} came` });
    if (next.value.key === key) return;
  }
}

export async function drain(hints: AsyncIterator<unknown>): Promise<void> {
  for (;;) if ((await hints.next()).done === true) return;
}

export function tamper(list: readonly string[] | undefined): void {
  // A frozen answer is as good as a copy: then the push throws and the stored value is untouched.
  try {
    (list as string[] | undefined)?.push('tampered');
  } catch (error) {
    expect(error).toBeInstanceOf(TypeError);
  }
}
