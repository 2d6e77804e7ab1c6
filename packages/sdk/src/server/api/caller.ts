import type { ClientCertificate } from '../auth/authenticator.ts';

/** Who is at the other end of a connection. */
export interface Peer {
  readonly address: string;
  /** Whether it came to a port with TLS. */
  readonly encrypted: boolean;
  /** Verified by the handshake of this connection. */
  readonly certificate?: ClientCertificate;
}

/** What a door knows of a call beside the request itself. */
export interface Caller {
  /** A request header, by its name in lower case; several of one name are joined by a comma. */
  readonly header: (name: string) => string | undefined;
  readonly peer: Peer;
  /** Aborts when the caller leaves, or its deadline passes. */
  readonly signal: AbortSignal;
}
