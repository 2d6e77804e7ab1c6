import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { Pool } from 'undici';

/** A refusal that the manager put into words. */
export class Refused extends Error {
  readonly code: string;
  readonly retry: string;
  constructor({ code, message, retry }: { readonly code: string; readonly message: string; readonly retry: string }) {
    super(message);
    this.code = code;
    this.retry = retry;
  }
}

const MOST_LINES = 2_000;

/** One operating system process that runs a manager. */
export class ManagerProcess {
  readonly number: number;
  /** What it logged, the newest last. */
  readonly lines: string[] = [];
  #forgotten = 0;
  /** Aborts when the process has ended. */
  readonly ended: AbortSignal;
  adapters: unknown;
  readonly #child: ChildProcess;
  readonly #up = Promise.withResolvers<void>();
  #pool: Pool | undefined;
  #isUp = false;
  #isKilled = false;

  constructor({ number, program, settings }: { readonly number: number; readonly program: string; readonly settings: unknown }) {
    this.number = number;
    const ended = new AbortController();
    this.ended = ended.signal;
    this.#up.promise.catch(() => {});
    const env = { PATH: process.env['PATH'] ?? '', BIFROST_FAULTS_SETTINGS: JSON.stringify(settings), NODE_COMPILE_CACHE: `${program}.cache` };
    this.#child = spawn(process.execPath, [program], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stdin?.on('error', () => {});
    if (this.#child.stdout) createInterface(this.#child.stdout).on('line', (line) => this.#hear(line));
    if (this.#child.stderr) createInterface(this.#child.stderr).on('line', (line) => this.#note(line));
    this.#child.once('exit', (code, signal) => {
      this.#note(`(process ${number} ended: ${signal ?? code})`);
      ended.abort(new Error(`manager process ${number} ended: ${signal ?? code}`));
      this.#up.reject(ended.signal.reason);
      void this.#pool?.destroy();
    });
  }

  /** It ended by itself before it took a call: what it met at its start was wrong. */
  get failedToStart(): boolean {
    return this.ended.aborted && !this.#isUp && !this.#isKilled;
  }

  /** Resolves when it takes calls; rejects when it ended before. */
  async up(): Promise<void> {
    await this.#up.promise;
  }

  /** @throws {Refused}; anything else when the process ended before it answered */
  async call(method: string, args: readonly unknown[]): Promise<unknown> {
    const { status, text } = await this.post('/call', { method, args });
    const answer = JSON.parse(text) as { readonly result: unknown } & ConstructorParameters<typeof Refused>[0];
    if (status === 200) return answer.result;
    throw new Refused(answer);
  }

  async post(
    path: string,
    body: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<{ readonly status: number; readonly text: string }> {
    await this.#up.promise;
    if (this.#pool === undefined) throw this.ended.reason;
    const answer = await this.#pool.request({ method: 'POST', path, headers, body: JSON.stringify(body), signal: this.ended });
    return { status: answer.statusCode, text: await answer.body.text() };
  }

  /** How many lines it has logged so far. */
  get lineCount(): number {
    return this.#forgotten + this.lines.length;
  }

  /** Lines from that count on, as far as they are still known. */
  linesSince(count: number): readonly string[] {
    return this.lines.slice(Math.max(0, count - this.#forgotten));
  }

  /** SIGKILL, and its end. */
  async kill(): Promise<void> {
    if (!this.ended.aborted) this.#isKilled = true;
    this.#child.kill('SIGKILL');
    if (this.ended.aborted) return;
    await new Promise<void>((resolve) => {
      this.ended.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  /** SIGTERM would be answered by the host program; the tests have no use for that. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  #hear(line: string): void {
    const told = JSON.parse(line) as { readonly port: number; readonly adapters: unknown };
    this.adapters = told.adapters;
    this.#pool = new Pool(`http://127.0.0.1:${told.port}`, { connections: 64, headersTimeout: 0, bodyTimeout: 0 });
    this.#isUp = true;
    this.#up.resolve();
  }

  #note(line: string): void {
    this.lines.push(line.slice(0, 600));
    if (this.lines.length <= MOST_LINES) return;
    this.lines.shift();
    this.#forgotten += 1;
  }
}
