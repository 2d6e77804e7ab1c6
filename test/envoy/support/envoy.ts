import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';
import { eventually } from '../../lab/support/eventually.ts';
import { freePort } from '../../support/free-port.ts';

const shipped = new URL('../../../examples/deploy/envoy/', import.meta.url);

/** A real Envoy on the shipped bootstrap: only addresses, ports and files are this run's, and it speaks in clear. */
export class Envoy implements AsyncDisposable {
  readonly port: number;
  readonly #admin: number;
  readonly #process: ChildProcess;
  readonly #folder: string;
  readonly #said: { out: string; error: string };

  private constructor(parts: { port: number; admin: number; process: ChildProcess; folder: string; said: { out: string; error: string } }) {
    this.port = parts.port;
    this.#admin = parts.admin;
    this.#process = parts.process;
    this.#folder = parts.folder;
    this.#said = parts.said;
  }

  static async start({ upstreamPort, jwks }: { readonly upstreamPort: number; readonly jwks: unknown }): Promise<Envoy> {
    const [port, admin, folder] = [await freePort(), await freePort(), mkdtempSync(join(tmpdir(), 'bifrost-envoy-'))];
    // biome-ignore lint/suspicious/noExplicitAny: Envoy's bootstrap has no type here
    const bootstrap = parse(readFileSync(new URL('envoy.yaml', shipped), 'utf8'), { merge: true }) as any;
    bootstrap.admin.address.socket_address.port_value = admin;
    const [listener] = bootstrap.static_resources.listeners;
    listener.address.socket_address = { address: '127.0.0.1', port_value: port };
    delete listener.filter_chains[0].transport_socket;
    const manager = listener.filter_chains[0].filters[0].typed_config;
    const filter = (name: string) => manager.http_filters.find((each: { name: string }) => each.name === `envoy.filters.http.${name}`).typed_config;
    const keys = join(folder, 'jwks.json');
    writeFileSync(keys, JSON.stringify(jwks));
    filter('jwt_authn').providers.issuer.local_jwks.filename = keys;
    filter('grpc_json_transcoder').proto_descriptor = fileURLToPath(new URL('bifrost.binpb', shipped));
    const endpoint = bootstrap.static_resources.clusters[0].load_assignment.endpoints[0].lb_endpoints[0].endpoint;
    endpoint.address.socket_address.port_value = upstreamPort;
    const config = join(folder, 'envoy.yaml');
    writeFileSync(config, stringify(bootstrap));
    const program = process.env['BIFROST_ENVOY'] ?? '';
    const args = ['--config-path', config, '--disable-hot-restart', '--concurrency', '1', '--log-level', 'warn', '--file-flush-interval-msec', '100'];
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    // A test that is cut short disposes nothing, and vitest then ends its worker: Envoy must outlive neither.
    const end = (): void => void child.kill('SIGKILL');
    const onSignal = (): void => {
      end();
      process.exit(1);
    };
    process.once('exit', end).once('SIGTERM', onSignal);
    child.once('exit', () => process.off('exit', end).off('SIGTERM', onSignal));
    const said = { out: '', error: '' };
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (said.out += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (said.error = (said.error + text).slice(-8_000)));
    const envoy = new Envoy({ port, admin, process: child, folder, said });
    await envoy.#ready();
    return envoy;
  }

  async #ready(): Promise<void> {
    const isReady = async (): Promise<boolean> =>
      !this.isAlive || (await fetch(`http://127.0.0.1:${this.#admin}/ready`).catch(() => undefined))?.status === 200;
    await eventually('Envoy is ready', isReady, { intervalMs: 5 });
    if (!this.isAlive) throw new Error(`envoy ended with ${this.#process.exitCode}: ${this.#said.error}`);
  }

  /** Whole lines of its access log so far. */
  get accessLog(): readonly Readonly<Record<string, unknown>>[] {
    return this.#said.out
      .split('\n')
      .slice(0, -1)
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
  }

  /** What it last said of itself. */
  get lastWords(): string {
    return this.#said.error;
  }

  get isAlive(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** Drains it, then ends it by its pid: by the signal alone it would cut what is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.isAlive) {
      await fetch(`http://127.0.0.1:${this.#admin}/drain_listeners?graceful&skip_exit`, { method: 'POST' }).catch(() => {});
      const ended = once(this.#process, 'exit');
      this.#process.kill('SIGTERM');
      await ended;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
