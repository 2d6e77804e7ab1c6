import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../src/adapters/system/clock.ts';
import { renderSidecar } from '../src/domain/render-sidecar.ts';
import { MemoryCluster, SimulatedControl, SimulatedPodRuntime } from '../src/testing/index.ts';
import type { SimulatedPod } from '../src/testing/simulated-pod.ts';
import { renderInput } from './support/render-input.ts';

const call = () => ({ signal: AbortSignal.timeout(10_000) });
const TAG = 'tag:book';
let folder: string;
let agentProgram: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bifrost-simulated-pod-'));
  agentProgram = join(folder, 'agent.cjs');
  await writeFile(agentProgram, 'process.on("SIGTERM", () => process.exit(0)); process.stdin.resume(); setInterval(() => {}, 60_000);');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.each(['kernel', 'userspace'] as const)('a simulated pod of a Job, in %s mode', (networkMode) => {
  it('ends with its book: agent process and daemon end, the device is offline, and the pod has succeeded', async () => {
    const control = new SimulatedControl();
    const { credential } = control.addTailnet({ displayName: 'acme', policy: JSON.stringify({ tagOwners: { [TAG]: [] } }) });
    const tailnet = control.open(control.signIn(credential), 'auth_keys', 'write');
    const { key } = tailnet.createKey({ tags: [TAG], reusable: true, ephemeral: true }, [TAG]);
    const runtime = new SimulatedPodRuntime({ control, agentProgram });
    await using cluster = new MemoryCluster({ clock: systemClock(), runtime });
    const fragment = renderSidecar({ ...renderInput, ingestHasOwnCa: false, networkMode, template: { spec: { containers: [{ name: 'book' }] } } });
    await cluster.createSecret({ namespace: 'default', name: `bifrost-${renderInput.sidecarId}`, data: { authkey: key.reveal() } });
    const { initContainers, volumes, labels: podLabels } = fragment;
    const job = await cluster.createWorkload({ kind: 'Job', namespace: 'default', name: 'import', podLabels, initContainers, volumes });
    await cluster.settled(call());
    const [pod] = cluster.podsOf(job);
    expect(pod?.containers.map(({ name }) => name)).toEqual([...initContainers.map(({ name }) => name), 'book']);
    expect([runtime.agentPids().length, control.devices().map(({ connected }) => connected)]).toEqual([1, [true]]);
    cluster.endContainer(pod?.uid ?? '', 'book');
    await cluster.settled(call());
    await vi.waitFor(() => expect(cluster.podsOf(job)).toMatchObject([{ uid: pod?.uid, phase: 'Succeeded' }]), { timeout: 10_000 });
    await vi.waitFor(() => expect([runtime.agentPids().length, control.devices().map(({ connected }) => connected)]).toEqual([0, [false]]), {
      timeout: 10_000,
    });
    expect(await cluster.workloads.get(job, call())).toMatchObject({ finished: true });
  });
});

interface Status {
  readonly BackendState: string;
  readonly TailscaleIPs: readonly string[] | null;
  readonly Peer: object | null;
}

/** As the agent asks. */
const statusOf = ({ tailscaled: { socketPath } }: SimulatedPod): Promise<Status> =>
  new Promise((resolve, reject) => {
    const path = '/localapi/v0/status';
    const asked = request({ socketPath, path, headers: { host: 'local-tailscaled.sock' }, agent: false }, async (response) => {
      resolve(JSON.parse((await response.toArray()).join('')) as Status);
    });
    asked.on('error', reject).end();
  });

describe('a simulated pod whose device is deleted', () => {
  it('says NeedsLogin, and joins as another device as soon as there is a key that the control plane takes', async () => {
    const control = new SimulatedControl();
    const { controlId, credential } = control.addTailnet({ displayName: 'acme', policy: JSON.stringify({ tagOwners: { [TAG]: [] } }) });
    control.addDevice({ controlId, hostname: 'router' });
    const tailnet = control.open(control.signIn(credential), 'auth_keys', 'write');
    const newKey = () => tailnet.createKey({ tags: [TAG], reusable: true, ephemeral: true }, [TAG]);
    const runtime = new SimulatedPodRuntime({ control, agentProgram, restartMs: 10 });
    await using cluster = new MemoryCluster({ clock: systemClock(), runtime });
    const template = { spec: { containers: [{ name: 'book' }] } };
    const { initContainers, volumes, labels: podLabels } = renderSidecar({ ...renderInput, ingestHasOwnCa: false, networkMode: 'kernel', template });
    const first = newKey();
    const secret = { namespace: 'default', name: `bifrost-${renderInput.sidecarId}` };
    await cluster.createSecret({ ...secret, data: { authkey: first.key.reveal() } });
    const book = await cluster.createWorkload({ namespace: 'default', name: 'book', podLabels, initContainers, volumes });
    await cluster.settled(call());
    const uid = cluster.podsOf(book)[0]?.uid ?? '';
    const pod = runtime.pod(uid) as SimulatedPod;
    const before = pod.deviceId ?? '';
    expect(await statusOf(pod)).toMatchObject({ BackendState: 'Running', Peer: expect.any(Object) });
    const restarts = () => cluster.podsOf(book)[0]?.containers.find(({ name }) => name === 'tailscale')?.restarts;

    // As a quarantine does it: first the key, then the device.
    tailnet.revokeKey(first.keyId);
    control.leave(before);
    expect(await statusOf(pod)).toMatchObject({ BackendState: 'NeedsLogin', TailscaleIPs: null, Peer: null });
    await cluster.createSecret({ ...secret, data: { authkey: first.key.reveal() } }); // it still has one, which is revoked
    await cluster.createSecret({ ...secret, data: {} });
    expect([pod.deviceId, restarts()]).toEqual([before, 0]);

    await cluster.createSecret({ ...secret, data: { authkey: newKey().key.reveal() } });
    await vi.waitFor(async () => expect(await statusOf(pod)).toMatchObject({ BackendState: 'Running', Peer: expect.any(Object) }), {
      timeout: 5_000,
    });
    expect(pod.deviceId).not.toBe(before);
    expect(control.device(pod.deviceId ?? '')).toMatchObject({ connected: true });
    expect([cluster.podsOf(book)[0]?.uid, restarts()]).toEqual([uid, 1]);
    // A second time too.
    const second = pod.deviceId ?? '';
    control.leave(second);
    await vi.waitFor(() => expect(control.devices().map(({ deviceId }) => deviceId)).toContain(pod.deviceId), { timeout: 5_000 });
    expect(pod.deviceId).not.toBe(second);
  });

  it('ends while it has none, and leaves nothing behind', async () => {
    const control = new SimulatedControl();
    const { credential } = control.addTailnet({ displayName: 'acme', policy: JSON.stringify({ tagOwners: { [TAG]: [] } }) });
    const tailnet = control.open(control.signIn(credential), 'auth_keys', 'write');
    const { key, keyId } = tailnet.createKey({ tags: [TAG], reusable: true, ephemeral: true }, [TAG]);
    const runtime = new SimulatedPodRuntime({ control, agentProgram });
    const cluster = new MemoryCluster({ clock: systemClock(), runtime });
    const template = { spec: { containers: [{ name: 'book' }] } };
    const { initContainers, volumes, labels: podLabels } = renderSidecar({ ...renderInput, ingestHasOwnCa: false, networkMode: 'kernel', template });
    await cluster.createSecret({ namespace: 'default', name: `bifrost-${renderInput.sidecarId}`, data: { authkey: key.reveal() } });
    await cluster.createWorkload({ namespace: 'default', name: 'book', podLabels, initContainers, volumes });
    await cluster.settled(call());
    tailnet.revokeKey(keyId);
    for (const { deviceId } of control.devices()) control.leave(deviceId);
    await cluster[Symbol.asyncDispose]();
    expect([runtime.agentPids(), control.devices()]).toEqual([[], []]);
  });
});
