import { afterAll, beforeAll, expect, test } from 'vitest';
import { logs } from './support/containers.ts';
import type { Customer } from './support/customer.ts';
import { eventually } from './support/eventually.ts';
import { containerStatus, type KubernetesObject, type Named, type PodObject } from './support/kubernetes.ts';
import { book } from './support/manifests.ts';
import { Stage } from './support/stage.ts';

// An owner who sets hostNetwork after the attach: what a real kubelet tells the guard of the pod's addresses, and what the loop makes of it.
const stage = new Stage();
const { platform, kubernetes } = stage;
const SPACE = 'host-network';
let customer: Customer;

const setHostNetwork = (workload: Named, hostNetwork: boolean) => kubernetes.mergePatch(workload, { spec: { template: { spec: { hostNetwork } } } });
const unsupported = (sidecarId: string) =>
  eventually('it is told', async () => ((await platform.sidecar(sidecarId))?.reason?.code === 'WORKLOAD_UNSUPPORTED' ? true : undefined));

beforeAll(async () => {
  await stage.open();
  customer = await stage.customer({ name: SPACE });
  await stage.space(SPACE, SPACE);
  await stage.tailnet({ customer_id: SPACE, tailnet_name: SPACE });
});
afterAll(() => stage[Symbol.asyncDispose]());

test('the sidecar is taken out, and put in again when the owner takes hostNetwork back', async () => {
  const workload = await stage.book({ name: 'moved', namespace: SPACE });
  const sidecarId = await stage.attach(`${SPACE}/moved`, SPACE);
  await platform.sidecarReaches(sidecarId, 'connected');
  await setHostNetwork(workload, true);
  await unsupported(sidecarId);
  expect(await stage.specOf(workload)).not.toMatch(/bifrost-guard|tailscale/);
  expect(await platform.sidecar(sidecarId)).toMatchObject({ status: 'failed', reason: { path: 'spec.template.spec.hostNetwork' } });
  await setHostNetwork(workload, false);
  await platform.sidecarReaches(sidecarId, 'connected', 120_000);
  await stage.reaches(await stage.inBook(SPACE, 'moved'), customer);
}, 240_000);

test('one that its creator put in is told; its guard refuses to run, and nothing after it starts', async () => {
  const manifest = book({ image: stage.image, name: 'injected', namespace: SPACE });
  const wish = { tailnet_name: SPACE, config: { hostname: 'injected', accept_routes: true }, manifest };
  const { body } = await platform.call('POST', '/sidecars:inject', wish);
  const injected = body.manifest as KubernetesObject & { readonly spec: { readonly template: { readonly spec: object } } };
  const { spec } = injected;
  const template = { ...spec.template, spec: { ...spec.template.spec, hostNetwork: true } };
  await kubernetes.create({ ...injected, spec: { ...spec, template } } as KubernetesObject);
  await unsupported(body.sidecar_id);
  const pod = await eventually(
    'its guard has ended',
    async () => {
      const [found] = await kubernetes.list<PodObject>('v1', 'Pod', { namespace: SPACE, labels: 'app=injected' });
      const { state, lastState } = ((found && containerStatus(found, 'bifrost-guard')) ?? {}) as Readonly<Record<string, { terminated?: object }>>;
      return found && (state?.terminated ?? lastState?.terminated) ? found : undefined;
    },
    { timeoutMs: 60_000 },
  );
  expect(await logs({ namespace: SPACE, pod: pod.metadata.name, container: 'bifrost-guard' })).toContain('uses the network of its node');
  for (const name of ['bifrost-agent', 'tailscale', 'book']) expect(containerStatus(pod, name)).toMatchObject({ ready: false, restartCount: 0 });
}, 240_000);
