import { BifrostError, type Secret } from '@bifrost/types/core';
import type { Principal } from './principal.ts';

/** A client certificate that the TLS handshake, or a trusted proxy, has verified already. */
export interface ClientCertificate {
  /** Distinguished name, as the TLS library or the proxy writes it. Shown, never compared: its spelling differs between them. */
  readonly subject: string;
  /** URIs of the subject's alternative names. */
  readonly uris: readonly string[];
  /** DNS names of the subject's alternative names. */
  readonly dnsNames: readonly string[];
  /** SHA-256 of the whole certificate, in hex; with or without colons, in either case. */
  readonly fingerprintSha256: string;
}

/** What a caller showed at a door. */
export interface ShownCredentials {
  /** The token of `Authorization: Bearer TOKEN`. */
  readonly bearer?: Secret | undefined;
  /** The value of an API key's own header. */
  readonly apiKey?: Secret | undefined;
  readonly clientCertificate?: ClientCertificate | undefined;
}

/** Says who a caller is. */
export interface Authenticator {
  /**
   * Who showed this; undefined when this authenticator does not know the caller, for whatever reason: a door tells nobody which.
   *
   * Cancel: rejects with `signal.reason` itself.
   * @throws {BifrostError} with `retry: 'backoff'` — it cannot be known now: `AUTH_UNAVAILABLE`, or what the cluster answers.
   */
  authenticate(shown: ShownCredentials, options: { readonly signal: AbortSignal }): Promise<Principal | undefined>;
}

/**
 * Asks these in order; the first that knows the caller says who it is. One that cannot say now does not keep the next from answering, and its error is
 * told when none of them knows the caller.
 *
 * A certificate counts only when nothing else is shown: whoever shows a token or a key is judged by it, or a token that was withdrawn would leave its
 * bearer the rights of the connection, which may be those of a proxy.
 *
 * @example
 * const authenticator = anyOf([certificateAuthenticator({ identities: [] }), apiKeyAuthenticator({ keys: [] })]);
 */
export function anyOf(authenticators: readonly Authenticator[]): Authenticator {
  const asked = [...authenticators];
  return {
    async authenticate(shown, { signal }) {
      const { bearer, apiKey } = shown;
      const judged: ShownCredentials = bearer === undefined && apiKey === undefined ? shown : { bearer, apiKey };
      let unavailable: BifrostError | undefined;
      for (const authenticator of asked) {
        signal.throwIfAborted();
        try {
          const principal = await authenticator.authenticate(judged, { signal });
          if (principal !== undefined) return principal;
        } catch (error) {
          signal.throwIfAborted();
          if (!BifrostError.is(error)) throw error;
          unavailable ??= error;
        }
      }
      if (unavailable !== undefined) throw unavailable;
      return undefined;
    },
  };
}
