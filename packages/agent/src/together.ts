/**
 * Runs loops side by side until each has ended; all get one signal, which aborts with the caller's and as soon as a loop fails.
 * Resolves when they ended by themselves or because the caller's signal aborted; rejects with the error of the loop that failed.
 */
export async function together(loops: readonly ((signal: AbortSignal) => Promise<void>)[], signal: AbortSignal): Promise<void> {
  const failed = new AbortController();
  const both = AbortSignal.any([signal, failed.signal]);
  const guarded = loops.map((loop) =>
    loop(both).catch((error: unknown) => {
      if (!both.aborted || error !== both.reason) failed.abort(error);
    }),
  );
  await Promise.all(guarded);
  failed.signal.throwIfAborted();
}
