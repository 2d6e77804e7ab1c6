import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { BifrostError } from '@bifrost/types/core';
import { vi } from 'vitest';

const isRoot = process.getuid?.() === 0;
/** Without root, in a user namespace of its own: there one is root. */
const UNSHARE = isRoot ? ['unshare', '-n'] : ['unshare', '-rn'];
const ENTER = isRoot ? ['nsenter', '-n'] : ['nsenter', '-U', '-n', '--preserve-credentials'];

/** Whether this machine lets us make network namespaces, and has iproute2 and nsenter. */
export const hasNamespaces =
  spawnSync('unshare', [...UNSHARE.slice(1), 'sh', '-c', 'ip rule add preference 5105 prohibit && nsenter --version']).status === 0;
/** As in Debian's images, and as in the official one. */
export const SHELLS = [['dash'], ['busybox', 'sh']].filter(([program = '', ...rest]) => spawnSync(program, [...rest, '-c', ':']).status === 0);

export const until = <T>(holds: () => T | Promise<T>): Promise<T> => vi.waitFor(holds, { timeout: 30_000, interval: 30 });

/** A network namespace that lives as long as this object, with a process in it that waits. */
export class Namespace implements AsyncDisposable {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** `within`: made from inside of that one, so that a link may lead there. */
  static async open(within?: Namespace): Promise<Namespace> {
    const command = within === undefined ? UNSHARE : within.enter(['unshare', '-n']);
    const [program = '', ...rest] = [...command, 'sh', '-c', 'ip link set lo up && echo up && exec cat'];
    const child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    return new Namespace(child);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** A command as it is run in here. */
  enter(command: readonly string[]): readonly string[] {
    return [...ENTER, '-t', String(this.pid), ...command];
  }

  start(command: readonly string[], env: NodeJS.ProcessEnv = process.env): ChildProcess {
    const [program = '', ...rest] = this.enter(command);
    return spawn(program, rest, { env, stdio: ['pipe', 'pipe', 'pipe'] });
  }

  /** What the command prints. */
  run(command: string): string {
    const [program = '', ...rest] = this.enter(['sh', '-ec', command]);
    const { status, stdout, stderr } = spawnSync(program, rest, { encoding: 'utf8' });
    if (status !== 0) throw new BifrostError({ code: 'INTERNAL', message: `${command}: ${stderr}` });
    return stdout;
  }

  /** Of both families, sorted: within one preference their order means nothing. */
  rules(): readonly string[] {
    return ['-4', '-6'].flatMap((family) => {
      const lines = this.run(`ip ${family} rule show`).split('\n').filter(Boolean);
      return lines.map((line) => `${family} ${line.replace(/\s+/g, ' ')}`).sort();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.end();
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }
}

/** What becomes of a namespace's rules, in order. */
export class WatchedRules implements Disposable {
  readonly #child: ChildProcess;
  #seen = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#seen += text;
    });
  }

  static async open(namespace: Namespace): Promise<WatchedRules> {
    const watched = new WatchedRules(namespace.start(['stdbuf', '-oL', 'ip', 'monitor', 'rule']));
    await until(() => {
      namespace.run('ip rule add preference 1 lookup main; ip rule del preference 1 lookup main');
      if (watched.#seen === '') throw new Error('it does not watch yet');
    });
    return watched;
  }

  get lines(): readonly string[] {
    const lines = this.#seen.split('\n').map((line) => line.replace(/\s+/g, ' ').trim());
    return lines.filter((line) => line !== '' && !/^(Deleted )?1:/.test(line));
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}
