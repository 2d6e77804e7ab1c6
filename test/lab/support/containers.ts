import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { lab, type Output, program, runLab } from './command.ts';

/** One container of one pod. */
export interface ContainerAddress {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
}

/** What the `book` program says about one request: a status, or the kind of error (errno name, ETIMEDOUT, ENOTFOUND). */
export interface BookAnswer {
  readonly status?: number;
  readonly body: string;
  readonly addresses?: readonly string[];
  readonly error?: string;
  readonly kind?: string;
  readonly ms: number;
}
export interface BookRequest {
  readonly method?: string;
  readonly url: string;
  /** @default 3_000 */
  readonly timeoutMs?: number;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Runs a command in the container, as the container's own user; gives its output and exit code. */
export function exec({ namespace, pod, container }: ContainerAddress, command: readonly string[]): Promise<Output> {
  return runLab(['exec', namespace, pod, container, '--', ...command]);
}

const requestArguments = ({ method = 'GET', url, timeoutMs = 3_000, body = '', headers = {} }: BookRequest): string[] => [
  ...['request', method, url, String(timeoutMs), body],
  ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
];

function answerOf({ stdout, stderr, code }: Output): BookAnswer {
  if (!stdout.startsWith('{')) throw new Error(`the book did not answer (exit ${code}): ${stderr}${stdout}`);
  return JSON.parse(stdout) as BookAnswer;
}

/** One HTTP request made by the book itself, inside its container: the specification's data flow begins here. */
export async function requestFromBook(book: ContainerAddress, request: BookRequest): Promise<BookAnswer> {
  return answerOf(await exec(book, ['/book', ...requestArguments(request)]));
}

/** One connection of the book that asks every 250 ms for a given time, through its proxy where it has one, and counts what is answered. Disposing waits for its end. */
export class HeldConnection implements AsyncDisposable {
  readonly #child;
  #answers = 0;
  #lastAtMs = Number.NEGATIVE_INFINITY;
  #said = '';

  constructor(
    { namespace, pod, container }: ContainerAddress,
    { url, forMs, everyMs = 250 }: { readonly url: string; readonly forMs: number; readonly everyMs?: number },
  ) {
    const command = ['/book', 'hold', url, String(forMs), String(everyMs)];
    this.#child = spawn('bash', [program, 'exec', namespace, pod, container, '--', ...command], { stdio: 'pipe' });
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#lastAtMs = performance.now();
      this.#answers += text.split('\n').length - 1;
    });
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
    });
  }

  /** So many requests were answered until now. */
  get answers(): number {
    if (this.#child.exitCode !== null) throw new Error(`the connection has ended: ${this.#said}`);
    return this.#answers;
  }

  /** When the last answer came, by `performance.now()`; also of one that has ended meanwhile, as one that is reset does. */
  get lastAtMs(): number {
    return this.#lastAtMs;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }
}

/** One DNS query made inside the book's container. */
export async function lookupFromBook(book: ContainerAddress, name: string, timeoutMs = 3_000): Promise<BookAnswer> {
  return answerOf(await exec(book, ['/book', 'lookup', name, String(timeoutMs)]));
}

/** One HTTP request from a customer's machine (see customer.ts), e.g. to a pod's address from outside the pod range. */
export async function requestFromCustomer(customer: string, request: BookRequest): Promise<BookAnswer> {
  return answerOf(await runLab(['customer', customer, '--', 'book', ...requestArguments(request)]));
}

/** SIGKILL to the container's main process, or to the named program in it (first 15 characters), e.g. `tailscaled` in container `tailscale`. */
export async function kill({ namespace, pod, container }: ContainerAddress, program?: string): Promise<void> {
  await lab(['kill', namespace, pod, container, ...(program === undefined ? [] : [program])]);
}

/** What the container and its predecessors in this pod said. */
export function logs({ namespace, pod, container }: ContainerAddress): Promise<string> {
  return lab(['logs', namespace, pod, container]);
}

/**
 * Stops the pod's UDP and its way to the relay, in both directions, until disposed. DNS, the control protocol, the API server, probes and TCP between pods
 * (ingest) go on.
 */
export const cut = (namespace: string, pod: string): Promise<AsyncDisposable> => hindered('cut', namespace, pod);

/** Stops the pod's UDP packets that are as large as WireGuard's full ones, in both directions, until disposed; small ones pass. */
export const narrow = (namespace: string, pod: string): Promise<AsyncDisposable> => hindered('narrow', namespace, pod);

async function hindered(how: 'cut' | 'narrow', namespace: string, pod: string): Promise<AsyncDisposable> {
  await lab([how, namespace, pod]);
  return {
    async [Symbol.asyncDispose]() {
      await lab(['restore']);
    },
  };
}
