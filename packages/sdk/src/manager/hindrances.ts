/**
 * What may stand in the way when something is taken away: the control plane, whoever refuses to change the pod template or to delete a NetworkPolicy, pods
 * that do not end.
 */
export type Hindrance = 'control' | 'template' | 'pods' | 'policies';

interface Known {
  readonly sinceMs: number;
  /** It has been told that what it hinders is left. */
  told: boolean;
}

/** What stands in the way of which sidecar or tailnet, by its key. In memory: the next manager gives each its time again. */
export class Hindrances {
  readonly #known = new Map<string, Map<Hindrance, Known>>();

  /** Since when it has stood in the way; now, if it is new. */
  since(key: string, hindrance: Hindrance, nowMs: number): number {
    return this.#enter(key, hindrance, nowMs).sinceMs;
  }

  /** Something does: what is taken away is waited for. */
  isHindered(key: string): boolean {
    return (this.#known.get(key)?.size ?? 0) > 0;
  }

  /** True once while it lasts: that what it hinders is left is told then. */
  isUntold(key: string, hindrance: Hindrance): boolean {
    return this.#known.get(key)?.get(hindrance)?.told === false;
  }

  told(key: string, hindrance: Hindrance): void {
    const known = this.#known.get(key)?.get(hindrance);
    if (known !== undefined) known.told = true;
  }

  passed(key: string, hindrance: Hindrance): void {
    this.#known.get(key)?.delete(hindrance);
  }

  forget(key: string): void {
    this.#known.delete(key);
  }

  #enter(key: string, hindrance: Hindrance, nowMs: number): Known {
    const hindrances = this.#known.get(key) ?? new Map<Hindrance, Known>();
    const known = hindrances.get(hindrance) ?? { sinceMs: nowMs, told: false };
    this.#known.set(key, hindrances.set(hindrance, known));
    return known;
  }
}
