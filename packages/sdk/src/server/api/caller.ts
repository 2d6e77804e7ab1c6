/** Who is at the other end of a connection. */
export interface Peer {
  readonly address: string;
}

/** What a door knows of a call beside the request itself. */
export interface Caller {
  /** A request header, by its name in lower case. */
  readonly header: (name: string) => string | undefined;
  readonly peer: Peer;
  /** Aborts when the caller leaves, or its deadline passes. */
  readonly signal: AbortSignal;
}
