/** Cuts a stream of text into lines, in bounded memory. */
export class LineSplitter {
  readonly #limit: number;
  #rest = '';
  #skipping = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The lines that `chunk` completes; undefined stands for one that was too long to keep. */
  *push(chunk: string): Generator<string | undefined, void, void> {
    let start = 0;
    for (let end = chunk.indexOf('\n'); end >= 0; end = chunk.indexOf('\n', start)) {
      const line = this.#rest + chunk.slice(start, end);
      const tooLong = this.#skipping || line.length > this.#limit;
      this.#rest = '';
      this.#skipping = false;
      start = end + 1;
      if (tooLong) yield undefined;
      else if (line !== '') yield line;
    }
    if (!this.#skipping) this.#rest += chunk.slice(start);
    if (this.#rest.length > this.#limit) {
      this.#rest = '';
      this.#skipping = true;
    }
  }
}
