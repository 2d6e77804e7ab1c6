import { randomUUID } from 'node:crypto';
import { injectSidecar, renderSidecar } from '@bifrost/sdk';
import { request } from 'undici';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digests } from './support/command.ts';
import { type ContainerAddress, exec, requestFromBook } from './support/containers.ts';
import type { Customer } from './support/customer.ts';
import { eventually, throughout } from './support/eventually.ts';
import { type ContainerStatus, containerStatus, type KubernetesObject, type PodObject } from './support/kubernetes.ts';
import type { EventLog, WireEvent } from './support/platform.ts';
import { Stage } from './support/stage.ts';

// A daemon that hangs, and the tailscale container's liveness probe: first and last a book that the manager attached, with all its parts real; between,
// while the real agent has patience, a stand-in for the agent that says what the test wants, in a pod that is made by hand with its key.
const stage = new Stage();
const { kubernetes } = stage;
const SPACE = 'wedged';
const POD = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'book', namespace: SPACE, labels: { app: 'book' } } } as const;
const JOINED = 'joined';
const sidecarId = randomUUID();
const at = (container: string): ContainerAddress => ({ namespace: SPACE, pod: 'book', container });
let customer: Customer;
let events: EventLog;
let hangsSinceMs = 0;
/** What the manager attached, as it was before its daemon hung. */
let joined = { sidecarId: '', deviceId: '', podUid: '' };

/** The kubelet's pace here; what is rendered asks every 20 s. */
const PERIOD_MS = 1_000;

/** busybox's web server on the agent's port: serves what lies in /www. It is away while /www/away is there. */
function standIn(image: string) {
  const serve = 'busybox httpd -f -p "$POD_IP:9003" -h /www';
  const script = `cd /www; echo ok > healthz; echo ok > daemon; while :; do [ -e away ] || ${serve}; sleep 0.1; done`;
  return {
    name: 'bifrost-agent',
    image,
    restartPolicy: 'Always',
    command: ['sh', '-c', script],
    env: [{ name: 'POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }],
    startupProbe: { httpGet: { path: '/healthz', port: 9003 }, periodSeconds: 1, failureThreshold: 60 },
    volumeMounts: [{ name: 'www', mountPath: '/www' }],
  };
}

async function manifest(): Promise<KubernetesObject> {
  const images = await digests();
  const tailscaleImage = images['tailscale'] ?? '';
  const fragment = renderSidecar({
    sidecarId,
    tailnetName: 'wedged',
    network: { allowedNetworks: ['10.1.0.0/16'], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false },
    config: { hostname: 'wedged', advertiseRoutes: [], acceptRoutes: true, enableSsh: false },
    ranges: { pods: ['10.244.0.0/24'], services: ['10.96.0.0/16'], nodes: ['10.250.0.1/32'] },
    servedPorts: [],
    images: { tailscale: tailscaleImage, agent: images['agent'] ?? '' },
    ingestUrl: 'https://bifrost.bifrost.svc.cluster.local:8443/v1/reports',
    ingestHasOwnCa: false,
    heartbeatMs: 1_000,
    loginServer: 'http://10.244.0.1:9911',
  });
  const containers = [{ name: 'book', image: stage.image, imagePullPolicy: 'IfNotPresent' }];
  const volumes = [{ name: 'www', emptyDir: {} }];
  const injected = injectSidecar({ ...POD, spec: { terminationGracePeriodSeconds: 2, containers, volumes } }, fragment);
  const initContainers = fragment.initContainers.map((container) => {
    if (container.name === 'bifrost-agent') return standIn(tailscaleImage);
    const { livenessProbe } = container;
    return livenessProbe === undefined ? container : { ...container, livenessProbe: { ...livenessProbe, periodSeconds: PERIOD_MS / 1_000 } };
  });
  return { ...injected, spec: { ...injected.spec, initContainers } };
}

const tailscale = async (): Promise<ContainerStatus | undefined> => containerStatus((await kubernetes.get<PodObject>(POD)) as PodObject, 'tailscale');
const restarts = async (): Promise<number> => (await tailscale())?.restartCount ?? -1;
const inStandIn = (script: string) => exec(at('bifrost-agent'), ['sh', '-c', script]);
const reachesPage = async (): Promise<boolean> => (await requestFromBook(at('book'), { url: customer.pageUrl })).body === customer.page;
/** To every process of that name in the tailscale container. */
const signal = (name: string, program: string, container = at('tailscale')) =>
  exec(container, ['sh', '-c', `for p in /proc/[0-9]*; do read c < $p/comm && [ "$c" = ${program} ] && kill -${name} \${p#/proc/}; done; true`]);

const joinedPod = async (): Promise<PodObject> => {
  const [pod] = await kubernetes.pods(SPACE, `app=${JOINED}`);
  if (pod === undefined) throw new Error('the attached book has no pod');
  return pod;
};
const joinedTailscale = async (): Promise<ContainerAddress> => ({
  namespace: SPACE,
  pod: (await joinedPod()).metadata.name,
  container: 'tailscale',
});
const joinedRestarts = async (): Promise<number> => containerStatus(await joinedPod(), 'tailscale')?.restartCount ?? -1;
const devicesOf = async (book: string) => (await customer.control.devices()).filter(({ hostname }) => hostname === book);
/** The next event of that type about the attached book. */
async function told(type: string, from: number): Promise<WireEvent> {
  return events.next(type, ({ event_type, details }) => event_type === type && details['sidecar_id'] === joined.sidecarId, { from });
}
/** Stops the attached book's daemon, and waits until that is told. */
async function hang(): Promise<void> {
  const from = events.events.length;
  await signal('STOP', 'tailscaled', await joinedTailscale());
  expect((await told('disconnected', from)).details).toMatchObject({ cause: 'pod' });
}

beforeAll(async () => {
  await stage.open();
  customer = await stage.customer({ name: 'wedged' });
  await stage.space(SPACE, 'wedged');
  const { key } = await customer.control.createKey({ tags: ['tag:bifrost-book'], ephemeral: true, reusable: true });
  const data = { authkey: Buffer.from(key).toString('base64') };
  await kubernetes.apply({ apiVersion: 'v1', kind: 'Secret', metadata: { name: `bifrost-${sidecarId}`, namespace: SPACE }, data });
  await kubernetes.create(await manifest());
  await kubernetes.readyPods(SPACE, 'app=book');
  await eventually('the book reaches its customer', reachesPage);
  await stage.tailnet({ customer_id: 'wedged', tailnet_name: 'wedged' });
  await stage.book({ name: JOINED, namespace: SPACE });
  await stage.pod(SPACE, JOINED);
  events = await stage.platform.follow();
  const id = await stage.attach(`${SPACE}/${JOINED}`, 'wedged');
  await stage.platform.sidecarReaches(id, 'connected');
  await stage.reaches(await stage.inBook(SPACE, JOINED), customer);
  const [device] = await devicesOf(JOINED);
  joined = { sidecarId: id, deviceId: device?.nodeId ?? '', podUid: (await stage.pod(SPACE, JOINED)).metadata.uid ?? '' };
});
afterAll(async () => {
  events?.[Symbol.dispose]();
  await stage[Symbol.asyncDispose]();
});

describe('tailscaled hangs beside its real agent', () => {
  test('its connection is told as lost, by the pod’s fault; when it goes on in time, as back, and nothing was restarted', async () => {
    await hang();
    const from = events.events.length;
    await signal('CONT', 'tailscaled', await joinedTailscale());
    await told('connected', from);
    expect(await joinedRestarts()).toBe(0);
  });

  test('for good: told once more', async () => {
    await hang();
    hangsSinceMs = performance.now();
  });
});

const harmless: readonly [string, string, string][] = [
  ['says that the daemon is fine', 'echo ok > /www/daemon', 'echo ok > /www/daemon'],
  ['says "wedged" as one word of many', 'echo not wedged > /www/daemon', 'echo ok > /www/daemon'],
  ['does not know the path', 'busybox rm /www/daemon', 'echo ok > /www/daemon'],
  // A named pipe: the answer begins and never comes.
  ['is slow without end', 'busybox rm /www/daemon; busybox mkfifo /www/daemon', 'busybox rm -f /www/daemon; echo ok > /www/daemon'],
  ['hangs before it answers', 'busybox killall -STOP busybox', 'busybox killall -CONT busybox'],
  ['is away', ': > /www/away; busybox killall busybox', 'busybox rm /www/away'],
];
test.each(harmless)('an agent that %s restarts nothing', async (_, begin, end) => {
  const before = await restarts();
  await inStandIn(begin);
  try {
    await throughout('the tailscale container goes on', async () => (await restarts()) === before, { timeoutMs: 9 * PERIOD_MS });
  } finally {
    await inStandIn(end);
  }
});

test('tailscaled stops and nobody says so: nothing happens', async () => {
  const before = await restarts();
  await signal('STOP', 'tailscaled');
  await throughout('the tailscale container goes on', async () => (await restarts()) === before, { timeoutMs: 6 * PERIOD_MS });
  expect((await requestFromBook(at('book'), { url: customer.pageUrl, timeoutMs: 1_000 })).status).toBeUndefined();
});

test('once the agent says "wedged" the container is restarted within its short grace, as the same device, and the book reaches its customer again', async () => {
  const before = await restarts();
  const fromMs = performance.now();
  await inStandIn('printf wedged > /www/daemon');
  await eventually('the tailscale container has been restarted', async () => (await restarts()) > before, { timeoutMs: 30_000 });
  process.stderr.write(`lab: "wedged" to restarted: ${Math.round(performance.now() - fromMs)} ms at a period of ${PERIOD_MS} ms\n`);
  await inStandIn('echo ok > /www/daemon');
  await eventually('the book reaches its customer again', reachesPage, { timeoutMs: 60_000 });
  expect((await customer.control.devices()).filter(({ hostname }) => hostname === 'wedged')).toHaveLength(1);
  const pod = await kubernetes.get<PodObject>(POD);
  expect(pod && containerStatus(pod, 'book')?.restartCount).toBe(0);
});

test('the daemon that hangs for good: its agent finds it wedged, the kubelet restarts it once, and it is connected again as the same device', async () => {
  await eventually('the tailscale container has been restarted', async () => (await joinedRestarts()) > 0, { timeoutMs: 150_000 });
  process.stderr.write(`lab: tailscaled stopped to restarted, as rendered: ${Math.round((performance.now() - hangsSinceMs) / 1_000)} s\n`);
  await stage.platform.sidecarReaches(joined.sidecarId, 'connected');
  await stage.reaches(await stage.inBook(SPACE, JOINED), customer);
  const pod = await stage.pod(SPACE, JOINED);
  expect(pod.metadata.uid).toBe(joined.podUid);
  expect(['tailscale', 'bifrost-agent', 'book'].map((name) => containerStatus(pod, name)?.restartCount)).toEqual([1, 0, 0]);
  expect(await devicesOf(JOINED)).toMatchObject([{ nodeId: joined.deviceId }]);
  const metrics = await (await request(`http://${pod.status.podIP}:9003/metrics`)).body.text();
  expect(metrics).toContain('bifrost_agent_daemon_wedged_episodes_total 1\n');
}, 240_000);
