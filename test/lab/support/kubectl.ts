import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { lab, program, type RunOptions } from './command.ts';
import { type EventuallyOptions, eventually } from './eventually.ts';

/** Runs Kubernetes' own kubectl as administrator and gives what it prints; rejects with its error when it fails. */
export const kubectl = (args: readonly string[], options: RunOptions = {}): Promise<string> => lab(['kubectl', ...args], options);

/** `kubectl apply` of objects, as a person applies a file. */
export async function kubectlApply(...objects: readonly object[]): Promise<string> {
  const input = objects.map((object) => JSON.stringify(object)).join('\n---\n');
  return kubectl(['apply', '-f', '-'], { input });
}

/** What `kubectl get` prints: one record per row, by the words of its head. An empty cell is an empty string. */
export async function kubectlTable(args: readonly string[]): Promise<readonly Readonly<Record<string, string>>[]> {
  const [head = '', ...rows] = (await kubectl(['get', ...args])).split('\n').filter((line) => line !== '');
  const columns = [...head.matchAll(/\S+(?: \S+)*\s*/g)].map(({ 0: word, index }) => ({ name: word.trim(), from: index, to: index + word.length }));
  return rows.map((row) =>
    Object.fromEntries(columns.map(({ name, from, to }, at) => [name, row.slice(from, at === columns.length - 1 ? undefined : to).trim()])),
  );
}

/** `kubectl get --watch`: every line that it has printed since it was started, until disposed. */
export class KubectlWatch implements AsyncDisposable {
  readonly lines: string[] = [];
  readonly #child;
  readonly #ended;

  constructor(args: readonly string[]) {
    // The command becomes kubectl itself: its pid is ours to end.
    this.#child = spawn('bash', [program, 'kubectl', 'get', ...args, '--watch'], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#ended = new Promise<void>((resolve) => {
      this.#child.once('close', () => resolve());
    });
    createInterface(this.#child.stdout).on('line', (line) => this.lines.push(line));
  }

  /** Waits for a line that matches, after the first `from` of them; rejects with the last lines. */
  printed(
    what: string,
    matches: (line: string) => boolean,
    { from = 0, ...options }: EventuallyOptions & { readonly from?: number } = {},
  ): Promise<string> {
    const probe = (): string => {
      const found = this.lines.slice(from).find(matches);
      if (found === undefined) throw new Error(`it printed ${JSON.stringify(this.lines.slice(from).slice(-10))}`);
      return found;
    };
    return eventually(`kubectl prints: ${what}`, probe, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#ended;
  }
}
