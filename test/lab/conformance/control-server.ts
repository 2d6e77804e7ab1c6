import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Secret } from '@bifrost/types/core';
import { vi } from 'vitest';
import { freePort } from '../../support/free-port.ts';

const run = promisify(execFile);

/** What a machine was told last by its control plane. Only what tests read. */
export interface NetworkMap {
  readonly SelfNode: { readonly CapMap?: Readonly<Record<string, unknown>> };
  readonly Peers: readonly { readonly StableID: string; readonly AllowedIPs: readonly string[] }[] | null;
  readonly SSHPolicy: { readonly rules: readonly { readonly sshUsers: Readonly<Record<string, string>>; readonly action: object }[] } | null;
}

/** A machine that joined: a real tailscaled in userspace mode. Disposing ends it. */
export interface Machine extends AsyncDisposable {
  readonly deviceId: string;
  readonly addresses: readonly string[];
  /** Its LocalAPI. */
  readonly socketPath: string;
  /** Stops its daemon in the middle of whatever it does, until disposed. */
  suspend(): Promise<AsyncDisposable>;
  /** Kills its daemon and starts it again with what it knew, and with these variables. */
  restart(environment?: Readonly<Record<string, string>>): Promise<void>;
  networkMap(): Promise<NetworkMap>;
  /** Runs `tailscale` on it, whatever comes of it. */
  tailscale(...args: readonly string[]): Promise<void>;
}

/** The lab's control server on 127.0.0.1, alone: no cluster, no root. */
export interface ControlServer extends AsyncDisposable {
  readonly url: string;
  /** Rejects when the control server refuses the key. */
  join(machine: { readonly authKey: Secret; readonly hostname: string; readonly advertiseRoutes?: readonly string[] }): Promise<Machine>;
  /** The next API call that fits goes wrong so; see test/lab/modules/control/faults.go. */
  fault(fault: Readonly<Record<string, unknown>>): Promise<void>;
}

const program = (name: string): string => join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'bifrost-lab', 'bin', name);

/** True when the lab's cache holds what {@link startControlServer} runs. */
export function controlServerIsBuilt(): boolean {
  return ['control', 'tailscaled', 'tailscale'].every((name) => existsSync(program(name)));
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** Starts the control server on a free port with an empty organization. */
export async function startControlServer(): Promise<ControlServer> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = spawn(program('control'), ['-ip', '127.0.0.1', '-port', String(port)], { stdio: 'ignore' });
  const dispose = (): Promise<void> => stop(child);
  try {
    await vi.waitFor(() => fetch(`${url}/key`), { timeout: 10_000, interval: 50 });
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    url,
    join: (machine) => joinMachine(url, machine),
    async fault(fault) {
      const answer = await fetch(`${url}/lab/faults`, { method: 'POST', body: JSON.stringify(fault) });
      if (answer.status !== 200) throw new Error(`the fault was refused: ${answer.status}`);
    },
    [Symbol.asyncDispose]: dispose,
  };
}

async function joinMachine(url: string, machine: Parameters<ControlServer['join']>[0]): Promise<Machine> {
  const folder = await mkdtemp(join(tmpdir(), 'bifrost-machine-'));
  await chmod(folder, 0o755); // the socket is everybody's to read from
  const socket = join(folder, 'socket');
  const where = [`--state=${join(folder, 'state')}`, `--statedir=${folder}`, `--socket=${socket}`];
  const start = (environment = {}) =>
    spawn(program('tailscaled'), ['--tun=userspace-networking', ...where, '--port=0', '--no-logs-no-support'], {
      stdio: 'ignore',
      env: { ...process.env, ...environment },
    });
  let daemon = start();
  const dispose = async (): Promise<void> => {
    await stop(daemon);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await vi.waitFor(() => run(program('tailscale'), [`--socket=${socket}`, 'version', '--daemon']), { timeout: 10_000, interval: 50 });
    await writeFile(join(folder, 'key'), machine.authKey.reveal(), { mode: 0o600 });
    const routes = (machine.advertiseRoutes ?? []).join(',');
    const settings = [
      `--login-server=${url}`,
      `--auth-key=file:${join(folder, 'key')}`,
      `--hostname=${machine.hostname}`,
      `--advertise-routes=${routes}`,
    ];
    await run(program('tailscale'), [`--socket=${socket}`, 'up', '--timeout=15s', ...settings]);
    const { stdout } = await run(program('tailscale'), [`--socket=${socket}`, 'status', '--json']);
    const { Self: self } = JSON.parse(stdout) as { Self: { ID: string; TailscaleIPs: string[] } };
    return {
      deviceId: self.ID,
      addresses: self.TailscaleIPs,
      socketPath: socket,
      suspend: async () => {
        daemon.kill('SIGSTOP');
        return { [Symbol.asyncDispose]: async () => void daemon.kill('SIGCONT') };
      },
      restart: async (environment) => {
        await stop(daemon);
        daemon = start(environment);
      },
      networkMap: async () => JSON.parse((await run(program('tailscale'), [`--socket=${socket}`, 'debug', 'netmap'])).stdout) as NetworkMap,
      tailscale: (...args) =>
        run(program('tailscale'), [`--socket=${socket}`, ...args], { timeout: 5_000 }).then(
          () => {},
          () => {},
        ),
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}
