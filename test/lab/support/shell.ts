import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { type EventuallyOptions, eventually } from './eventually.ts';

/** What stands before each command that failed, in what a block printed. */
export const FAILED = 'FAILED: ';

// Commands read nothing: blocks come by another way. The colon, since eval itself fails when its last command does.
const LOOP = `
  set -o pipefail
  trap 'printf "${FAILED}%s\\n" "$BASH_COMMAND"' ERR
  while IFS= read -r -d "" block <&3; do eval "$block"$'\\n:' < /dev/null 2>&1; printf "\\0"; done`;

/** One bash, as a person has it open: what a block of commands sets, the next one finds. */
export class Shell implements AsyncDisposable {
  readonly #child;
  readonly #ended;
  #said = '';

  constructor(folder: string) {
    this.#child = spawn('bash', ['-c', LOOP], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit', 'pipe'] });
    this.#ended = once(this.#child, 'exit');
    (this.#child.stdio[1] as Readable).setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
    });
  }

  /** Runs the block and gives what it printed. A command that fails does not end it, as in a terminal. */
  async run(block: string, options: EventuallyOptions = {}): Promise<string> {
    const from = this.#said.length;
    (this.#child.stdio[3] as Writable).write(`${block}\0`);
    await eventually(`the end of the block: ${block}`, () => this.#said.includes('\0', from), options).catch((error) => {
      throw new Error(`it printed ${this.#said.slice(from)}`, { cause: error });
    });
    return this.#said.slice(from, this.#said.indexOf('\0', from));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}
