import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AUTHORITY_FILE } from './certificates.ts';
import { type Output, outputOf } from './command.ts';
import { type EventuallyOptions, eventually } from './eventually.ts';

/** As a package manager installs it. */
const PROGRAM = fileURLToPath(new URL('../../node_modules/.bin/bifrost', import.meta.url));
// In a mount namespace of its own the cluster's DNS is asked: the service's certificate is for a name.
const NAMED = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"';

/** The service through Envoy, as the command is told. */
export const SERVICE = ['--server', 'https://bifrost.bifrost.svc.cluster.local:8080', '--ca', AUTHORITY_FILE] as const;
/** The cluster itself, as its administrator. */
export const CLUSTER = ['--cluster', '--kubeconfig', '/run/bifrost-lab/admin.kubeconfig'] as const;

/** The built command `bifrost` as a user has it: a process, with nothing in its environment but what a test gives. */
export class Bifrost implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'bifrost-lab-command-'));

  constructor() {
    this.file('resolv.conf', 'nameserver 10.244.0.1\n');
  }

  /** A file with that content, which goes with this. */
  file(name: string, content: string): string {
    const path = join(this.#folder, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  }

  start(args: readonly string[], env: Readonly<Record<string, string>> = {}): RunningBifrost {
    const own = { HOME: this.#folder, PATH: [dirname(process.execPath), '/usr/bin', '/bin'].join(delimiter), ...env };
    return new RunningBifrost(['--mount', 'sh', '-c', NAMED, 'sh', join(this.#folder, 'resolv.conf'), PROGRAM, ...args], own);
  }

  async run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Output> {
    await using running = this.start(args, env);
    return await running.ended;
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }
}

export class RunningBifrost implements AsyncDisposable {
  readonly ended: Promise<Output>;
  readonly #child;
  #said = '';

  constructor(args: readonly string[], env: Readonly<Record<string, string>>) {
    this.#child = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'pipe'], env, timeout: 80_000, killSignal: 'SIGKILL' });
    this.ended = outputOf(this.#child);
    this.#child.stdout.on('data', (text: string) => {
      this.#said += text;
    });
  }

  /** Waits for a line of JSON on stdout. */
  line<T>(what: string, matches: (line: T) => boolean, options?: EventuallyOptions): Promise<T> {
    const lines = (): readonly T[] =>
      this.#said
        .split('\n')
        .slice(0, -1)
        .map((text) => JSON.parse(text) as T); // the last one is not whole yet
    return eventually(what, () => lines().find(matches), options);
  }

  interrupt(): void {
    this.#child.kill('SIGINT');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL');
    await this.ended;
  }
}
