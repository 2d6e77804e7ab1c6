import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { freePort } from './free-port.ts';

/** Sends JSON (or a string as it is) as the admin and answers with status and parsed body. */
export type AdminCall = (
  method: string,
  path: string,
  ...[body, contentType]: [body?: unknown, contentType?: string]
) => Promise<{ readonly status: number; readonly body: unknown }>;

/** A real etcd and kube-apiserver. Without controllers workloads stay at what was written; with them they have pods, which nothing runs. */
export interface ApiServer extends AsyncDisposable {
  readonly url: string;
  /** A kubeconfig (as text) of an admin in `system:masters`. */
  readonly kubeconfig: string;
  /** The same in a file, removed with the server. */
  readonly kubeconfigPath: string;
  readonly adminToken: string;
  /** PEM of what signed its certificate. */
  readonly certificateAuthority: string;
  readonly call: AdminCall;
}

/** Plain requests to any API server with a bearer token; its certificate is not checked. */
export function adminOf({ url, token }: { readonly url: string; readonly token: string }): { readonly call: AdminCall } & AsyncDisposable {
  const agent = new Agent({ connect: { rejectUnauthorized: false } });
  return {
    async call(method, path, body, contentType = 'application/json') {
      const answer = await request(`${url}${path}`, {
        dispatcher: agent,
        method: method as 'GET',
        headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': contentType }) },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      });
      const text = await answer.body.text();
      return { status: answer.statusCode, body: text.startsWith('{') ? (JSON.parse(text) as unknown) : text };
    },
    [Symbol.asyncDispose]: () => agent.destroy(),
  };
}

/** Applies every document of a manifest file, by force, as an admin would. */
export async function applyManifest(call: AdminCall, file: URL): Promise<void> {
  for (const document of (await readFile(file, 'utf8')).split(/^---$/m)) {
    const [, apiVersion = '', kind = '', name = ''] = /^apiVersion: (\S+)\nkind: (\S+)\nmetadata:\n {2}name: (\S+)/m.exec(document) ?? [];
    const namespace = /^ {2}namespace: (\S+)/m.exec(document)?.[1];
    const group = apiVersion === 'v1' ? '/api/v1' : `/apis/${apiVersion}`;
    const plural = `${kind.toLowerCase()}s`.replace(/ys$/, 'ies');
    const path = `${group}${namespace === undefined ? '' : `/namespaces/${namespace}`}/${plural}/${name}?fieldManager=suite&force=true`;
    const { status, body } = await call('PATCH', path, document, 'application/apply-patch+yaml');
    if (status > 299) throw new Error(`${kind} ${name}: HTTP ${status} ${JSON.stringify(body)}`);
  }
}

const BINARIES = ['etcd', 'kube-apiserver'] as const;
/** Those that books need: pods for workloads, an account for pods, and the end of what has no owner or namespace any more. */
const CONTROLLERS = ['deployment', 'replicaset', 'statefulset', 'daemonset', 'job', 'cronjob', 'garbage-collector', 'namespace', 'serviceaccount'];
type Binary = (typeof BINARIES)[number] | 'kube-controller-manager';
const binaryFolder = (): string => join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'bifrost-lab', 'bin');

/** True when the lab's cache holds what {@link startApiServer} runs. */
export function apiServerIsBuilt({ controllers = false }: { readonly controllers?: boolean } = {}): boolean {
  const needed: readonly Binary[] = controllers ? [...BINARIES, 'kube-controller-manager'] : BINARIES;
  return needed.every((name) => existsSync(join(binaryFolder(), name)));
}

/**
 * Starts etcd and the API server on free ports of 127.0.0.1 with their data in a temp folder; `controllers` adds a real kube-controller-manager.
 * Disposing ends them and removes the folder.
 */
export async function startApiServer({ controllers = false }: { readonly controllers?: boolean } = {}): Promise<ApiServer> {
  const folder = await mkdtemp(join(tmpdir(), 'bifrost-api-'));
  const stack = new AsyncDisposableStack();
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  try {
    const [etcdPort, peerPort, apiPort] = [await freePort(), await freePort(), await freePort()];
    await writeKeys(folder);
    const etcdUrl = `http://127.0.0.1:${etcdPort}`;
    const etcd = start('etcd', etcdArguments(folder, etcdUrl, peerPort));
    stack.defer(() => stop(etcd));
    const api = start('kube-apiserver', apiArguments(folder, etcdUrl, apiPort));
    stack.defer(() => stop(api));
    const url = `https://127.0.0.1:${apiPort}`;
    const { call } = stack.use(adminOf({ url, token: 'admintoken' }));
    await ready(api, call);
    const kubeconfigPath = join(folder, 'admin.kubeconfig');
    const certificateAuthority = await readFile(join(folder, 'pki', 'apiserver.crt'), 'utf8');
    const kubeconfig = kubeconfigOf({ url, token: 'admintoken', certificateAuthority });
    await writeFile(kubeconfigPath, kubeconfig);
    if (controllers) {
      const manager = start('kube-controller-manager', controllerArguments(kubeconfigPath));
      stack.defer(() => stop(manager));
    }
    return {
      url,
      kubeconfigPath,
      kubeconfig,
      adminToken: 'admintoken',
      certificateAuthority,
      call,
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

function etcdArguments(folder: string, url: string, peerPort: number): string[] {
  const peer = `http://127.0.0.1:${peerPort}`;
  return [
    ...['--data-dir', join(folder, 'etcd'), '--listen-client-urls', url, '--advertise-client-urls', url, '--listen-peer-urls', peer],
    ...['--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`, '--unsafe-no-fsync', '--log-level', 'error'],
  ];
}

function apiArguments(folder: string, etcdUrl: string, port: number): string[] {
  return [
    `--etcd-servers=${etcdUrl}`,
    '--service-cluster-ip-range=10.96.0.0/16',
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${join(folder, 'sa.pub')}`,
    `--service-account-signing-key-file=${join(folder, 'sa.key')}`,
    `--cert-dir=${join(folder, 'pki')}`,
    '--authorization-mode=Node,RBAC',
    `--token-auth-file=${join(folder, 'tokens.csv')}`,
    '--allow-privileged=true',
    '--bind-address=127.0.0.1',
    `--secure-port=${port}`,
    // No controller-manager here makes the default ServiceAccount of a namespace.
    '--disable-admission-plugins=ServiceAccount',
  ];
}

function controllerArguments(kubeconfigPath: string): string[] {
  return [
    ...[`--kubeconfig=${kubeconfigPath}`, '--leader-elect=false', '--secure-port=0', '--profiling=false'],
    `--controllers=${CONTROLLERS.map((name) => `${name}-controller`).join(',')}`,
    // By default it slows itself down to 20 requests a second.
    ...['--kube-api-qps=1000', '--kube-api-burst=1000'],
  ];
}

async function writeKeys(folder: string): Promise<void> {
  await mkdir(join(folder, 'pki'));
  execFileSync('openssl', ['genrsa', '-out', join(folder, 'sa.key'), '2048'], { stdio: 'ignore' });
  execFileSync('openssl', ['rsa', '-in', join(folder, 'sa.key'), '-pubout', '-out', join(folder, 'sa.pub')], { stdio: 'ignore' });
  await writeFile(join(folder, 'tokens.csv'), 'admintoken,admin,admin,"system:masters"\n');
}

/** A kubeconfig, as text, of one server and one token. Without a certificate authority its certificate is not checked. */
export function kubeconfigOf({ url, token, certificateAuthority }: { url: string; token: string; certificateAuthority?: string }): string {
  const trust =
    certificateAuthority === undefined
      ? { 'insecure-skip-tls-verify': true }
      : { 'certificate-authority-data': Buffer.from(certificateAuthority).toString('base64') };
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server: url, ...trust } }],
    users: [{ name: 'user', user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'user' } }],
    'current-context': 'test',
  });
}

interface Running {
  readonly name: string;
  readonly child: ChildProcess;
  readonly lastLines: string[];
}

/** Runs a program that ends when its stdin does: so also when this process is killed and cannot end it any more. */
const TIED = `
exec 3<&0
"$0" "$@" </dev/null 3<&- &
program=$!
{ cat <&3 >/dev/null; kill -9 $program; } 2>/dev/null &
guard=$!
wait $program
code=$?
kill $guard 2>/dev/null
exit $code
`;

/** Go collects garbage when a limit is near instead of all the time: a fifth less work, at 1 GiB for the largest. */
const LAZY = { GOGC: 'off', GOMEMLIMIT: '1000MiB' };

function start(name: Binary, args: readonly string[]): Running {
  const child = spawn('/bin/sh', ['-c', TIED, join(binaryFolder(), name), ...args], {
    stdio: ['pipe', 'ignore', 'pipe'],
    env: { ...process.env, ...LAZY },
  });
  const lastLines: string[] = [];
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    lastLines.push(text);
    if (lastLines.length > 20) lastLines.shift();
  });
  child.on('error', (error) => lastLines.push(String(error)));
  child.stdin?.on('error', () => {}); // it ended by itself
  return { name, child, lastLines };
}

/** SIGKILL: an API server drains for a minute on SIGTERM, and nothing here is worth that. */
async function stop({ child }: Running): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
  });
  child.stdin?.end();
  await ended;
}

async function ready(api: Running, call: AdminCall): Promise<void> {
  for (let attempt = 0; attempt < 1_200; attempt += 1) {
    if (api.child.exitCode !== null) throw new Error(`${api.name} ended: ${api.lastLines.join('')}`);
    const answers = await Promise.all(['/readyz', '/api/v1/namespaces/default'].map((path) => call('GET', path).catch(() => ({ status: 0 }))));
    if (answers.every(({ status }) => status === 200)) return;
    await sleep(100);
  }
  throw new Error(`${api.name} was not ready in time: ${api.lastLines.join('')}`);
}
