import { BifrostError } from '@bifrost/types/core';
import { createLocalJWKSet, createRemoteJWKSet, customFetch, errors, type JSONWebKeySet, type JWTVerifyGetKey, type RemoteJWKSet } from 'jose';
import type { Clock } from '../../ports/clock.ts';

/** How an issuer's keys are fetched: what `fetch` does with these. */
export type KeyFetch = (url: string, init: Pick<RequestInit, 'headers' | 'method' | 'redirect' | 'signal'>) => Promise<Response>;

/** From here on keys are asked for again, so that one that the issuer took back ends. */
const FRESH_FOR_MS = 600_000;
/** An issuer that is away changes nothing for this long; then its keys are too old to believe. */
const BELIEVED_FOR_MS = 86_400_000;
/** Between two attempts: tokens with invented key ids must not become requests to the issuer. */
const COOLDOWN_MS = 10_000;
const TIMEOUT_MS = 5_000;
const MAX_BODY_BYTES = 1_048_576;

/** The keys of an issuer that were given as they are. */
export const fixedKeys = (jwks: JSONWebKeySet): JWTVerifyGetKey => createLocalJWKSet(jwks);

/** Reads the whole answer, which is bounded; the library would read any. */
function boundedFetch(send: KeyFetch): KeyFetch {
  return async (url, init) => {
    const answer = await send(url, init);
    if (answer.status !== 200 || answer.body === null) return answer;
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>) {
      size += chunk.byteLength;
      if (size > MAX_BODY_BYTES) throw new BifrostError({ code: 'AUTH_UNAVAILABLE', message: 'The keys of the issuer are too large to read.' });
      chunks.push(chunk);
    }
    return new Response(Buffer.concat(chunks), { status: 200 });
  };
}

/**
 * The keys of an issuer, by its address. jose fetches, reads and picks them; here is decided when: it would fetch for every unknown key id while the
 * issuer is away, and would throw away good keys after ten minutes.
 */
export class RemoteKeys {
  readonly #keys: RemoteJWKSet;
  readonly #clock: Pick<Clock, 'nowMs'>;
  #loadedAtMs = Number.NEGATIVE_INFINITY;
  #triedAtMs = Number.NEGATIVE_INFINITY;
  #failure: unknown;
  #pending: Promise<void> | undefined;

  constructor(url: string, options: { readonly clock: Pick<Clock, 'nowMs'>; readonly fetch?: KeyFetch | undefined }) {
    this.#clock = options.clock;
    this.#keys = createRemoteJWKSet(new URL(url), {
      timeoutDuration: TIMEOUT_MS,
      cooldownDuration: Number.POSITIVE_INFINITY,
      cacheMaxAge: Number.POSITIVE_INFINITY,
      [customFetch]: boundedFetch(options.fetch ?? ((address, init) => fetch(address, init))),
    });
  }

  /**
   * The key that a token names. Rejects with jose's own error for a key that the issuer does not have.
   *
   * @throws {BifrostError} `AUTH_UNAVAILABLE` — the issuer does not answer, and what is known of its keys does not decide
   */
  readonly keyFor: JWTVerifyGetKey = async (header, token) => {
    if (this.#ageMs() >= FRESH_FOR_MS) {
      const loading = this.#load();
      // An issuer that hangs costs those who come first its time limit, and nobody after them.
      if (this.#failure === undefined || this.#ageMs() >= BELIEVED_FOR_MS) await loading;
    }
    if (this.#ageMs() >= BELIEVED_FOR_MS) throw this.#unavailable();
    try {
      return await this.#keys(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      await this.#load();
      if (this.#failure !== undefined) throw this.#unavailable();
      return await this.#keys(header, token);
    }
  };

  #ageMs(): number {
    return this.#clock.nowMs() - this.#loadedAtMs;
  }

  /** Asks the issuer, unless it has just been asked. Never rejects: what is known already may do. */
  async #load(): Promise<void> {
    if (this.#pending === undefined && this.#clock.nowMs() - this.#triedAtMs < COOLDOWN_MS) return;
    this.#pending ??= this.#reload();
    await this.#pending;
  }

  async #reload(): Promise<void> {
    this.#triedAtMs = this.#clock.nowMs();
    try {
      await this.#keys.reload();
      this.#loadedAtMs = this.#clock.nowMs();
      this.#failure = undefined;
    } catch (error) {
      this.#failure = error;
    } finally {
      this.#pending = undefined;
    }
  }

  #unavailable(): BifrostError {
    const retryAfterMs = Math.max(1, this.#triedAtMs + COOLDOWN_MS - this.#clock.nowMs());
    const message = 'The issuer of the token does not give its keys now: the same call may succeed later.';
    return new BifrostError({ code: 'AUTH_UNAVAILABLE', message, retryAfterMs, cause: this.#failure });
  }
}
