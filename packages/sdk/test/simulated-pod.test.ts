import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../src/adapters/system/clock.ts';
import { renderSidecar } from '../src/domain/render-sidecar.ts';
import { MemoryCluster, SimulatedControl, SimulatedPodRuntime } from '../src/testing/index.ts';
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
