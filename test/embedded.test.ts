import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { blocksOf } from './support/guide.ts';

// The README's first command, as printed, in a process of its own: real agents, the real adapter, simulators around them.
// Processes are told apart by what the kernel says of them.
const hasProc = existsSync('/proc/self/environ');
const root = fileURLToPath(new URL('..', import.meta.url));

interface Document {
  readonly tailnets: readonly { readonly tailnet_name: string; readonly status: string }[];
  readonly sidecars: readonly { readonly sidecar_id: string; readonly tailnet_name: string; readonly status: string; readonly ip_address: string }[];
  readonly status: {
    readonly connected_devices: number;
    readonly metrics: Readonly<Record<string, number>>;
    readonly connected_sidecars: readonly unknown[];
  };
  readonly metrics: readonly { readonly tailnet_name: string; readonly bytes_sent: string; readonly is_connected: boolean }[];
  readonly events: readonly { readonly event_type: string; readonly details: Readonly<Record<string, string>> }[];
  readonly isolation: { readonly cross_tailnet_visible: number };
  readonly leftovers: Readonly<Record<string, number>>;
  readonly timings_ms: Readonly<Record<string, number>>;
}

let stdout = '';
let stderr = '';
let document: Document;

/** Empty for one that has ended meanwhile, or is not ours to read. */
function environmentOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8');
  } catch {
    return '';
  }
}

/** Processes that were started for these sidecars, read from the kernel. */
const agentProcesses = (sidecarIds: readonly string[]): string[] =>
  readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    const environment = environmentOf(pid);
    return sidecarIds.some((id) => environment.includes(`BIFROST_SIDECAR_ID=${id}`));
  });

describe('npm start -s -- --once --json', () => {
  beforeAll(async () => {
    ({ stdout, stderr } = await promisify(execFile)('npm', ['start', '-s', '--', '--once', '--json'], { cwd: root }));
    document = JSON.parse(stdout) as Document;
  }, 90_000);

  it('prints one JSON document on stdout, of the documented members, and its progress on stderr', () => {
    expect(stdout.trim().split('\n')).toHaveLength(1);
    expect(Object.keys(document)).toEqual(['tailnets', 'sidecars', 'status', 'metrics', 'events', 'isolation', 'leftovers', 'timings_ms']);
    expect(stderr).toContain('connected');
  });

  it('tells the story that the first-hour guide shows, under the command that it shows', () => {
    const plain = (text: string): readonly string[] =>
      text
        .replaceAll(/^ *[\d.]+ s {2}/gm, '')
        .replaceAll(/(billing-book)-\w+-\w+|(process) \d+|\b[\d.]+ (ms)\b/g, '$1$2$3')
        .trim()
        .split('\n');
    const [command, story] = blocksOf('docs/guides/first-hour.md').map(({ text }) => text);
    expect(command).toBe('npm start -- --once\n');
    expect(plain(stderr)).toEqual(expect.arrayContaining([...plain(story ?? '')]));
  });

  it('connects three books of two customers', () => {
    expect(document.tailnets).toEqual([
      { tailnet_name: 'acme-corp-production', status: 'active' },
      { tailnet_name: 'globex-production', status: 'active' },
    ]);
    expect(document.sidecars).toHaveLength(3);
    for (const sidecar of document.sidecars) expect(Object.keys(sidecar)).toEqual(['sidecar_id', 'tailnet_name', 'status', 'ip_address']);
    for (const sidecar of document.sidecars) expect(sidecar).toMatchObject({ status: 'connected', ip_address: expect.stringMatching(/^100\./) });
    expect(document.status).toMatchObject({ tailnet_name: 'acme-corp-production', status: 'active', connected_devices: 2 });
    expect(document.status.connected_sidecars).toHaveLength(2);
  });

  it('counts the bytes that the books saw', () => {
    expect(document.status.metrics['bytes_sent']).toBeGreaterThanOrEqual(2 * 1_048_576);
    const [acme] = document.metrics;
    expect(acme).toMatchObject({ tailnet_name: 'acme-corp-production', is_connected: true });
    expect(Number(acme?.bytes_sent)).toBe(document.status.metrics['bytes_sent']);
    for (const metric of document.metrics) expect(Number(metric.bytes_sent)).toBeGreaterThan(0);
  });

  it('tells of the cut link with its cause, of the killed agent as unknown, and of both recoveries', () => {
    const told = document.events.map(({ event_type, details }) =>
      [event_type, details['state'], details['cause']].filter((word) => word !== undefined).join(' '),
    );
    const members = ['tailnet_name', 'event_type', 'timestamp', 'details', 'resume_token']; // the specification's, and ours
    for (const event of document.events) expect(Object.keys(event)).toEqual(members);
    expect(told).toEqual([
      'connected connected',
      'connected connected',
      'connected connected',
      'disconnected disconnected relay',
      'connected connected',
      'error unknown agent',
      'connected connected',
    ]);
  });

  it('shows no customer to another, and leaves nothing at the control plane and in the cluster', () => {
    expect(document.isolation).toEqual({ cross_tailnet_visible: 0 });
    expect(document.leftovers).toEqual({ devices: 0, keys: 0, secrets: 0, tailnets: 0 });
  });

  it.runIf(hasProc)('leaves no process', () => {
    expect(agentProcesses(document.sidecars.map(({ sidecar_id }) => sidecar_id))).toEqual([]);
  });
});

describe('npm start, ended early', () => {
  it.runIf(hasProc)(
    'takes its agents and their files with it on SIGTERM',
    async () => {
      const child = spawn('npm', ['start', '-s', '--', '--once'], { cwd: root, stdio: ['ignore', 'pipe', 'ignore'] });
      const ended = once(child, 'close'); // of its output: the last process that writes to it is gone
      let said = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
      await expect.poll(() => said, { timeout: 30_000 }).toContain('is connected to');
      const agents = agentsOf(child.pid ?? 0);
      expect(agents.length).toBeGreaterThan(0);
      child.kill('SIGTERM');
      await ended;
      expect(said).toContain('ended early by SIGTERM');
      await expect.poll(() => agents.filter(({ pid }) => isAlive(pid)), { timeout: 10_000 }).toEqual([]);
      expect(agents.filter(({ folder }) => existsSync(folder))).toEqual([]);
    },
    60_000,
  );
});

interface AgentProcess {
  readonly pid: number;
  readonly folder: string;
}

const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}`);

/** Agents below one process, with the folder that holds their token. */
function agentsOf(ancestor: number): AgentProcess[] {
  return readdirSync('/proc').flatMap((entry) => {
    if (!/^\d+$/.test(entry) || !descendsFrom(Number(entry), ancestor)) return [];
    const token = /BIFROST_TOKEN_FILE=([^\0]+)/.exec(environmentOf(entry))?.[1];
    return token === undefined ? [] : [{ pid: Number(entry), folder: dirname(dirname(token)) }];
  });
}

function descendsFrom(pid: number, ancestor: number): boolean {
  try {
    for (let at = pid; at > 1; at = Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${at}/status`, 'utf8'))?.[1] ?? 0))
      if (at === ancestor) return true;
  } catch {
    // it has ended meanwhile
  }
  return false;
}
