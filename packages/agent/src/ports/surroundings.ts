/** What is asked of the pod and of the network beside the daemon. */
export interface Surroundings {
  /** Whether the kernel forwards packets of that family in this network namespace; undefined where it cannot be told. */
  forwards(family: 4 | 6): boolean | undefined;
  /** Whether the control server at this URL (empty: Tailscale's own) answers the first request of a login. Rejects with `signal.reason` itself on abort. */
  controlAnswers(url: string, options: { readonly signal: AbortSignal }): Promise<boolean>;
}
