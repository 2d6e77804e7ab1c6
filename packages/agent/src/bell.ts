/** Lets one loop wait until somebody rings or time is up. A ring while nobody waits is kept. Makes no timer before `wait`. */
export class Bell {
  #rung = false;
  #wake: (() => void) | undefined;

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Forgets a ring that nobody has heard yet. */
  hush(): void {
    this.#rung = false;
  }

  /** Resolves with true after a ring, with false after `milliseconds`. Rejects with `signal.reason` itself on abort; leaves no timer, no listener. */
  wait(milliseconds: number, { signal }: { readonly signal: AbortSignal }): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        this.#wake = undefined;
        if (signal.aborted) return reject(signal.reason);
        resolve(this.#rung);
        this.#rung = false;
      };
      const timer = Number.isFinite(milliseconds) ? setTimeout(end, milliseconds) : undefined;
      this.#wake = end;
      signal.addEventListener('abort', end);
      if (signal.aborted || this.#rung) end();
    });
  }
}

/** Resolves after that time. Rejects with `signal.reason` itself on abort; leaves no timer, no listener. */
export async function pause(milliseconds: number, options: { readonly signal: AbortSignal }): Promise<void> {
  await new Bell().wait(milliseconds, options);
}
