import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command `lab`. */
export const program = fileURLToPath(new URL('../lab', import.meta.url));

export interface RunOptions {
  /** The command is killed after that. @default 60_000 */
  readonly timeoutMs?: number;
  /** Given on standard input. @default '' */
  readonly input?: string;
}

/** Runs `test/lab/lab ARGUMENTS` and gives what it said, whatever its exit code. */
export async function runLab(args: readonly string[], { timeoutMs = 60_000, input = '' }: RunOptions = {}): Promise<Output> {
  const child = spawn('bash', [program, ...args], { stdio: 'pipe', timeout: timeoutMs, killSignal: 'SIGKILL' });
  child.stdin.on('error', () => undefined).end(input); // a command that reads nothing may end before
  return outputOf(child);
}

/** What a process says until its end. */
export async function outputOf(child: ChildProcessByStdio<Writable | null, Readable, Readable>): Promise<Output> {
  const parts = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    parts.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    parts.stderr += text;
  });
  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => resolve(status ?? 137));
  });
  return { code, ...parts };
}

/** The same, and rejects when the exit code is not 0. Gives stdout. */
export async function lab(args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await runLab(args, options);
  if (code !== 0) throw new Error(`lab ${args.slice(0, 5).join(' ')} ended with ${code}: ${stderr || stdout}`);
  return stdout;
}

/** Pinned references of the lab's images, e.g. `digests().book`. */
export async function digests(): Promise<Readonly<Record<string, string>>> {
  return JSON.parse(await lab(['digests'])) as Record<string, string>;
}

/** What of the lab is on this machine, one thing per line. */
export async function leftovers(): Promise<readonly string[]> {
  return (await runLab(['leftovers'])).stdout.split('\n').filter((line) => line !== '');
}
