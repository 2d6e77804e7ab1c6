import { randomUUID } from 'node:crypto';
import { renderSidecar } from '@bifrost/sdk';
import { kubernetes as connect, kubernetesCluster } from '@bifrost/sdk/kubernetes';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kubeconfigOf } from '../support/api-server.ts';
import { digests, lab } from './support/command.ts';
import { type ContainerAddress, exec, lookupFromBook, requestFromBook } from './support/containers.ts';
import type { Customer } from './support/customer.ts';
import { eventually } from './support/eventually.ts';
import { containerStatus } from './support/kubernetes.ts';
import { service } from './support/manifests.ts';
import { Stage, sidecarWish } from './support/stage.ts';

// The userspace form in a namespace of pod security level `restricted`, judged by the API server's own admission: attached by the real adapter, with a key
// by hand; then by the manager, which reads NetworkPolicies and is told that they are enforced, as they are.
const stage = new Stage();
const { kubernetes } = stage;
const SPACE = 'restricted';
const NAME = 'strict';
const cluster = kubernetesCluster({ connection: connect({ kubeconfig: kubeconfigOf({ url: kubernetes.url, token: kubernetes.token }) }) });
const call = () => ({ signal: AbortSignal.timeout(20_000) });
const sidecarId = randomUUID();
let customer: Customer;
let images: Readonly<Record<string, string>>;

const unprivileged = {
  runAsNonRoot: true,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
};
const inPod = (container = 'book'): Promise<ContainerAddress> => stage.inBook(SPACE, NAME, container);

async function fragmentOf(networkMode: 'kernel' | 'userspace') {
  const { template } = await cluster.workloads.find(`${SPACE}/${NAME}`, call());
  const ranges = await cluster.topology.ranges(call());
  if (ranges === undefined) throw new Error('the cluster does not tell its ranges');
  return renderSidecar({
    sidecarId,
    tailnetName: 'restricted',
    network: { allowedNetworks: ['10.0.0.0/8'], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false },
    config: { hostname: NAME, advertiseRoutes: [], acceptRoutes: true, enableSsh: false },
    ranges,
    servedPorts: [],
    images: { tailscale: images['tailscale'] ?? '', agent: images['agent'] ?? '' },
    ingestUrl: 'https://bifrost.bifrost.svc.cluster.local:8443/v1/reports',
    ingestHasOwnCa: false,
    heartbeatMs: 1_000,
    loginServer: 'http://10.244.0.1:9911',
    networkMode,
    template,
  });
}

beforeAll(async () => {
  await stage.open();
  images = await digests();
  customer = await stage.customer({ name: 'restricted' });
  await stage.space(SPACE, 'restricted', { 'pod-security.kubernetes.io/enforce': 'restricted' });
  await stage.book({ name: NAME, namespace: SPACE, container: { securityContext: unprivileged } });
  await kubernetes.apply(service(NAME, SPACE));
  await stage.pod(SPACE, NAME);
  const { key } = await customer.control.createKey({ tags: ['tag:bifrost-book'], ephemeral: true, reusable: true });
  const data = { authkey: Buffer.from(key).toString('base64') };
  await kubernetes.apply({ apiVersion: 'v1', kind: 'Secret', metadata: { name: `bifrost-${sidecarId}`, namespace: SPACE }, data });
});
afterAll(async () => {
  await lab(['manager'], { timeoutMs: 120_000 });
  await cluster[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
});

test('admission forbids the kernel form and lets the userspace form in', async () => {
  const workload = await cluster.workloads.find(`${SPACE}/${NAME}`, call());
  await expect(cluster.workloads.admit(workload, await fragmentOf('kernel'), call())).rejects.toMatchObject({
    code: 'POD_SECURITY_FORBIDDEN',
    details: { enforce: 'restricted' },
  });
  await cluster.workloads.admit(workload, await fragmentOf('userspace'), call());
});

test('before it the book does not reach its customer; with it, by the proxy variables, it does', async () => {
  expect((await requestFromBook(await inPod(), { url: customer.pageUrl, timeoutMs: 1_000 })).status).toBeUndefined();
  const fragment = await fragmentOf('userspace');
  const { reference: workload } = await cluster.workloads.find(`${SPACE}/${NAME}`, call());
  await cluster.workloads.attach({ workload, form: 'apply', fragment }, call());
  await eventually('the book’s pod has its sidecar', async () => containerStatus(await stage.pod(SPACE, NAME), 'tailscale')?.ready === true, {
    timeoutMs: 60_000,
  });
  await stage.reaches(await inPod(), customer);
});

test('the cluster is reached past the proxy', async () => {
  const name = `${NAME}.${SPACE}.svc.cluster.local`;
  expect((await lookupFromBook(await inPod(), name)).addresses).toHaveLength(1);
  // The Service leads to the new pod a moment after that is ready.
  await eventually(
    'the Service answers',
    async () => (await requestFromBook(await inPod(), { url: `http://${name}:8080/` })).body === `book ${NAME}`,
  );
  const { podIP } = (await stage.pod(SPACE, NAME)).status;
  expect((await requestFromBook(await inPod(), { url: `http://${podIP}:8080/` })).body).toBe(`book ${NAME}`);
});

test('its containers run without privileges, each as a user of its own, and write to nothing but their volumes', async () => {
  const tailscale = await inPod('tailscale');
  const status = (await exec(tailscale, ['busybox', 'cat', '/proc/self/status'])).stdout;
  expect(status).toContain('Uid:\t60932');
  expect(status).toMatch(/CapPrm:\t0{16}\n/);
  expect((await exec(tailscale, ['sh', '-c', 'echo x > /tmp/x'])).code).not.toBe(0);
  expect((await exec(await inPod('bifrost-agent'), ['/nodejs/bin/node', '-p', 'process.getuid()'])).stdout.trim()).toBe('60931');
  const pod = await stage.pod(SPACE, NAME);
  expect([containerStatus(pod, 'tailscale')?.restartCount, containerStatus(pod, 'bifrost-agent')?.restartCount]).toEqual([0, 0]);
});

test('detach leaves the book what it was', async () => {
  const { reference: workload } = await cluster.workloads.find(`${SPACE}/${NAME}`, call());
  await cluster.workloads.detach({ workload, form: 'apply', fragment: await fragmentOf('userspace') }, call());
  const { template } = await cluster.workloads.find(`${SPACE}/${NAME}`, call());
  expect(JSON.stringify(template)).not.toMatch(/bifrost|tailscale|PROXY/i);
});

describe('the manager', () => {
  const wish = sidecarWish(`${SPACE}/${NAME}`, SPACE);
  const attach = () => stage.platform.call('POST', '/sidecars', wish);
  /** All but the customer's networks, and the tailnets' own. */
  const denial = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'no-clear-way', namespace: SPACE },
    spec: {
      podSelector: {},
      policyTypes: ['Egress'],
      egress: [
        {
          to: [
            { ipBlock: { cidr: '0.0.0.0/0', except: ['10.1.0.0/16', '100.64.0.0/10'] } },
            { ipBlock: { cidr: '::/0', except: ['fd7a:115c:a1e0::/48'] } },
          ],
        },
      ],
    },
  };
  let sidecarId = '';

  test('refuses the book while its clear way is open, or not known to be closed', async () => {
    await stage.tailnet({ customer_id: SPACE, tailnet_name: SPACE, config: { allowed_networks: ['10.1.0.0/16'] } });
    const refused = { status: 422, body: { code: 'POD_SECURITY_FORBIDDEN' } };
    await kubernetes.apply(denial);
    expect(await attach()).toMatchObject(refused); // not told that policies are enforced
    await kubernetes.delete(denial);
    await lab(['manager', 'NETWORK_POLICY_ENFORCED=true'], { timeoutMs: 120_000 });
    await stage.platform.answers();
    expect(await attach()).toMatchObject(refused); // told, and there is none
  });

  test('attaches it without privileges once a policy closes it, and the book reaches its customer by the proxy variables', async () => {
    await kubernetes.apply(denial);
    const answer = await attach();
    expect(answer).toMatchObject({ status: 201, body: { status: 'attaching' } });
    sidecarId = answer.body.sidecar_id;
    expect(await stage.platform.sidecarReaches(sidecarId, 'connected')).toMatchObject({ network_mode: 'userspace' });
    await stage.reaches(await inPod(), customer);
  });

  test('without the variables there is no way: the same program of the same container gets the page with one, and not without', async () => {
    const env = (await stage.pod(SPACE, NAME)).spec['containers'] as readonly { readonly env?: readonly { name: string; value: string }[] }[];
    const proxy = env.flatMap((container) => container.env ?? []).find(({ name }) => name === 'http_proxy')?.value ?? '';
    expect(proxy).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    const tailscale = await inPod('tailscale');
    const get = (variables: string) => exec(tailscale, ['sh', '-c', `${variables} busybox timeout 3 busybox wget -q -O - ${customer.pageUrl}`]);
    expect(await get(`http_proxy=${proxy}`)).toMatchObject({ code: 0, stdout: customer.page });
    const bare = await get('');
    expect([bare.code === 0, bare.stdout]).toEqual([false, '']);
  });

  test('takes it out again', async () => {
    await stage.platform.must('DELETE', `/sidecars/${sidecarId}`);
    await stage.platform.sidecarReaches(sidecarId, 'gone');
    const { template } = await cluster.workloads.find(`${SPACE}/${NAME}`, call());
    expect(JSON.stringify(template)).not.toMatch(/bifrost|tailscale|PROXY/i);
    expect((await stage.platform.must('GET', '/leftovers')).leftovers).toEqual([]);
  });
});
