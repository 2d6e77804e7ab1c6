/** The two files between the agent and the guard beside it. Neither method waits or throws. */
export interface GuardFiles {
  /** Puts an order where the guard looks for it, as a whole. False when it could not be written. */
  put(text: string): boolean;
  /** What the guard says that it holds, as it stands there; undefined while it says nothing. */
  holds(): string | undefined;
}
