import { Secret } from '@bifrost/types/core';
import type { Clock } from '../../ports/clock.ts';

/** The tokens that a memory cluster has issued to its pods. */
export class PodTokens {
  readonly #issued = new Map<string, { readonly podUid: string; readonly audience: string }>();
  readonly #clock: Pick<Clock, 'newId'>;

  constructor(clock: Pick<Clock, 'newId'>) {
    this.#clock = clock;
  }

  issue(podUid: string, audience: string): Secret {
    const value = `memory-pod-token.${this.#clock.newId()}`;
    this.#issued.set(value, { podUid, audience });
    return new Secret(value);
  }

  /** The pod that the token was issued to with that audience. */
  podUidOf(token: Secret, audience: string): string | undefined {
    const found = this.#issued.get(token.reveal());
    return found?.audience === audience ? found.podUid : undefined;
  }

  /** Ends all tokens of a pod that is gone. */
  revoke(podUid: string): void {
    for (const [value, issued] of this.#issued) if (issued.podUid === podUid) this.#issued.delete(value);
  }
}
