import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Namespace, until } from './namespace.ts';

const SERVER =
  "require('node:net').createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(7000, '::', () => console.log('listens'))";
/** Sends each line that it is given, prints what comes back, and how the connection ended. */
const CLIENT = `
  const socket = require('node:net').connect({ host: process.argv[1], port: 7000, localAddress: process.argv[2], timeout: 1500 });
  let connected = false;
  socket.on('connect', () => { connected = true; console.log('connected'); }).on('error', ({ code }) => console.log(code)).pipe(process.stdout);
  socket.on('timeout', () => connected || console.log('silence'));
  process.stdin.on('end', () => process.exit()).pipe(socket);`;

/** A connection out of a namespace to an echo: what is said comes back. */
export class Connection implements AsyncDisposable {
  readonly #child: ChildProcess;
  #heard = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#heard += text;
    });
  }

  /** The first that is heard is `connected`, or why not. */
  static async open(from: Namespace, { to, source }: { readonly to: string; readonly source: string }): Promise<Connection> {
    const connection = new Connection(from.start([process.execPath, '-e', CLIENT, to, source]));
    await until(() => {
      if (connection.heard === '') throw new Error(`nothing of ${to}`);
    });
    return connection;
  }

  get heard(): string {
    return this.#heard.trim();
  }

  say(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  async hears(line: string): Promise<void> {
    await until(() => {
      if (!this.#heard.includes(line)) throw new Error(`heard only ${this.#heard}`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
  }
}

/** A customer's machine: behind a link that stands for the tunnel (table 52), with those addresses and an echo on each. */
export async function customerBehind(pod: Namespace, addresses: readonly string[]): Promise<AsyncDisposable> {
  const machine = await Namespace.open(pod);
  const isSix = (address: string): boolean => address.includes(':');
  pod.run(`
    ip link add tunnel type veth peer name tunnel netns ${machine.pid}
    ip address add 10.244.0.7/24 dev tunnel; ip address add fd01::7/64 dev tunnel nodad; ip link set tunnel up
    ip route add 10.0.0.0/8 via 10.244.0.1 table 52; ip -6 route add fd00:1::/64 via fd01::1 table 52`);
  machine.run(`
    ip address add 10.244.0.1/24 dev tunnel; ip address add fd01::1/64 dev tunnel nodad; ip link set tunnel up
    ${addresses.map((address) => `ip address add ${address}/${isSix(address) ? '128 nodad' : 32} dev lo`).join('; ')}`);
  const server = machine.start([process.execPath, '-e', SERVER]);
  await once(server.stdout ?? server, 'data');
  return {
    [Symbol.asyncDispose]: async () => {
      server.kill('SIGKILL');
      await once(server, 'exit');
      await machine[Symbol.asyncDispose]();
    },
  };
}
