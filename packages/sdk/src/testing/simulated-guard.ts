import { mkdir, readFile, rename, watch, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const HEAD = /^bifrost-guard 1 ([0-9a-f]{16}) /;

/** A pod's guard without a network: it says that it holds whatever order an agent hands to it. */
export class SimulatedGuard implements AsyncDisposable {
  readonly files: { readonly order: string; readonly holds: string };
  readonly #folder: string;
  readonly #stopping = new AbortController();
  #watching: Promise<void> | undefined;

  constructor(folder: string) {
    this.#folder = folder;
    this.files = { order: join(folder, 'order', 'order'), holds: join(folder, 'holds') };
  }

  /** `holds`: what its fragment was rendered for, if it says so. */
  async start(holds: string | undefined): Promise<void> {
    await mkdir(join(this.#folder, 'order'), { recursive: true });
    if (holds !== undefined) await this.#say(holds);
    const changes = watch(join(this.#folder, 'order'), { signal: this.#stopping.signal });
    this.#watching = this.#follow(changes).catch(() => {}); // ends with the pod
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#watching;
  }

  async #follow(changes: AsyncIterable<unknown>): Promise<void> {
    for await (const _ of changes) {
      const hash = HEAD.exec(await readFile(this.files.order, 'utf8').catch(() => ''))?.[1];
      if (hash !== undefined) await this.#say(hash);
    }
  }

  async #say(hash: string): Promise<void> {
    await writeFile(`${this.files.holds}.new`, `${hash}\n`);
    await rename(`${this.files.holds}.new`, this.files.holds);
  }
}
