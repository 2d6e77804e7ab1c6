import type { PathClass } from '@bifrost/types/core';

interface Way {
  readonly path: PathClass;
  readonly changes: number;
  readonly changedAtMs: number | undefined;
}

/** Remembers how packets to each peer travelled. Going silent and coming back on the same way is no change. */
export class PathHistory {
  readonly #ways = new Map<string, Way>();
  #total = 0;

  /** Changes of all peers since the agent started, also of those that are gone. */
  get total(): number {
    return this.#total;
  }

  observe(peerId: string, path: PathClass, nowMs: number): void {
    if (path === 'none') return;
    const way = this.#ways.get(peerId);
    if (way === undefined) this.#ways.set(peerId, { path, changes: 0, changedAtMs: undefined });
    else if (way.path !== path) {
      this.#ways.set(peerId, { path, changes: way.changes + 1, changedAtMs: nowMs });
      this.#total += 1;
    }
  }

  of(peerId: string): { readonly changes: number; readonly changedAtMs: number | undefined } {
    const { changes, changedAtMs } = this.#ways.get(peerId) ?? { changes: 0, changedAtMs: undefined };
    return { changes, changedAtMs };
  }

  /** Forgets all peers but these. */
  keep(peerIds: ReadonlySet<string>): void {
    for (const id of this.#ways.keys()) if (!peerIds.has(id)) this.#ways.delete(id);
  }
}
