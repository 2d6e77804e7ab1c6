import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type GuardOrder, guardOrderText } from '@bifrost/types/core';
import { type GuardInput, guardScript } from '../../src/domain/guard.ts';
import { GUARD_FOLDERS, NETWORK_HASH } from '../../src/domain/live-guard.ts';
import { Namespace, until } from './namespace.ts';

/** What a guard here is rendered for. */
export const RENDERED = 'aaaaaaaaaaaaaaaa';

/** Not one that has ended meanwhile, nor one that is still a copy of its parent. */
function isSleep(pid: string): boolean {
  try {
    return /^(\S*busybox\0)?(\S*\/)?sleep\0/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
  } catch {
    return false;
  }
}

/** The guard's program in a namespace, with folders of its own. */
export class GuardInNamespace implements AsyncDisposable {
  readonly namespace: Namespace;
  readonly #folder = mkdtempSync(join(tmpdir(), 'bifrost-guard-'));
  readonly #shell: readonly string[];
  readonly #script: string;
  #child: ChildProcess | undefined;
  #said = '';

  private constructor(namespace: Namespace, shell: readonly string[], input: GuardInput) {
    this.namespace = namespace;
    this.#shell = shell;
    // It looks ten times as often as in a pod: tests wait for its looks.
    this.#script = guardScript(input)
      .replaceAll(/\/var\/run\/bifrost(?=\/guard)/g, this.#folder)
      .replace('sleep 1 &', 'sleep 0.1 &');
    for (const folder of Object.values(GUARD_FOLDERS)) mkdirSync(this.#path(folder));
  }

  /** A guard whose rules stand. */
  static async open(shell: readonly string[], input: GuardInput): Promise<GuardInNamespace> {
    const guard = new GuardInNamespace(await Namespace.open(), shell, input);
    guard.start();
    await until(() => {
      if (guard.holds === undefined || !guard.hasOpened) throw new Error(`it has not opened: ${guard.said}`);
    });
    return guard;
  }

  /** All that it printed. */
  get said(): string {
    return this.#said;
  }

  get hasOpened(): boolean {
    return this.namespace.run('ip -4 rule show preference 5000') !== '';
  }

  /** What it says that it holds. */
  get holds(): string | undefined {
    try {
      return readFileSync(join(this.#path(GUARD_FOLDERS.own), 'holds'), 'utf8').trim();
    } catch {
      return undefined;
    }
  }

  start(): void {
    const env = { PATH: process.env['PATH'], POD_IPS: '10.244.0.7,fd01::7', HOST_IPS: '10.250.0.1', [NETWORK_HASH]: RENDERED };
    const applets = this.#shell[0] === 'busybox' ? `export PATH=${this.#applets()}\n` : '';
    const child = this.namespace.start([...this.#shell, '-c', `${applets}${this.#script}`], env);
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#said += text;
      });
    this.#child = child;
  }

  /** Ends it as a kubelet would, or at once. Answers with its exit code. */
  async end(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<number | null> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined) return null;
    child.kill(signal);
    const [code] = (await once(child, 'exit')) as [number | null];
    return code;
  }

  /** Until it has looked for an order once more: each look follows a `sleep` of its own. */
  async looked(): Promise<void> {
    const { pid = 0 } = this.#child ?? {};
    const sleeps = new Set<string>();
    await until(() => {
      for (const child of readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)) if (isSleep(child)) sleeps.add(child);
      if (sleeps.size < 2) throw new Error('it has not looked again');
    });
  }

  /** Hands over a file as the agent does. */
  put(file: string | Buffer): void {
    const folder = this.#path(GUARD_FOLDERS.order);
    writeFileSync(join(folder, 'new'), file);
    renameSync(join(folder, 'new'), join(folder, 'order'));
  }

  /** Hands over an order, and waits until it is said to be held. */
  async order(order: GuardOrder): Promise<void> {
    this.put(guardOrderText(order));
    await until(() => {
      if (this.holds !== order.hash) throw new Error(`it holds ${this.holds}: ${this.said}`);
    });
  }

  /** Everything that it has in its own folder is lost, as on a node that starts again. */
  forget(): void {
    rmSync(this.#path(GUARD_FOLDERS.own), { recursive: true });
    mkdirSync(this.#path(GUARD_FOLDERS.own));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end('SIGKILL');
    await this.namespace[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Where grep and the rest are busybox's too, as in the official image. */
  #applets(): string {
    const folder = join(this.#folder, 'bin');
    mkdirSync(folder, { recursive: true });
    const program = ['/bin/busybox', '/usr/bin/busybox'].find((path) => existsSync(path)) ?? '';
    for (const name of ['grep', 'head', 'mv', 'sleep']) if (!existsSync(join(folder, name))) symlinkSync(program, join(folder, name));
    return folder;
  }

  #path(folder: string): string {
    return folder.replace('/var/run/bifrost', this.#folder);
  }
}
