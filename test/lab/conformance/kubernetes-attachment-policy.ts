import { kubernetesStore } from '@bifrost/sdk/kubernetes';
import { exampleSidecarSpec, exampleSidecarState } from '@bifrost/sdk/testing/conformance';
import { describe, expect, it, vi } from 'vitest';
import type { AdminCall } from '../../support/api-server.ts';
import type { RealServer } from './kubernetes-stored-objects.ts';

const ROOT = '/apis/network.bifrost.dev/v1alpha1';
const MERGE = 'application/merge-patch+json';
const within = (): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(10_000) });
const patient = { timeout: 30_000, interval: 100 };

/** Everybody else than the manager, whatever their rights. */
export interface Others {
  readonly who: string;
  readonly call: () => AdminCall;
}

/** The policy of examples/deploy/admission.yaml: what others may do with attachments, and that the manager may do all of it. */
export function describeAttachmentPolicy(server: () => RealServer, others: readonly Others[]): void {
  const fresh = () => {
    const workload = { kind: 'Deployment', namespace: 'default', name: `policy-${crypto.randomUUID().slice(0, 8)}`, uid: 'u' } as const;
    const key = `default/deployment-${workload.name}`;
    return { key, spec: exampleSidecarSpec(workload), path: `${ROOT}/namespaces/default/sidecarattachments/deployment-${workload.name}` };
  };
  const attachment = (key: string, spec: object): object => ({
    apiVersion: 'network.bifrost.dev/v1alpha1',
    kind: 'SidecarAttachment',
    metadata: { name: key.split('/')[1] },
    spec,
  });
  const collection = `${ROOT}/namespaces/default/sidecarattachments`;

  describe('the policy of attachments', () => {
    it.each(others)('$who may not make one', ({ call }) =>
      // A new policy takes some seconds to be enforced.
      vi.waitFor(async () => {
        const { key, spec } = fresh();
        expect(await call()('POST', `${collection}?dryRun=All`, attachment(key, spec))).toMatchObject({ status: 403, body: { reason: 'Forbidden' } });
      }, patient),
    );

    it.each(others)('$who may abandon, label and delete one, and change nothing else of it', async ({ call: theirs }) => {
      await using store = kubernetesStore({ connection: server().connect() });
      const { key, spec, path } = fresh();
      const call = theirs();
      await store.sidecars.create(key, { spec, state: exampleSidecarState() }, within());
      const merge = async (body: object, subresource = ''): Promise<number> => (await call('PATCH', path + subresource, body, MERGE)).status;
      for (const change of [
        { config: { acceptRoutes: false } },
        { mode: 'inject' },
        { fragment: { labels: { more: 'x' } } },
        { bookDeploymentId: 'other', abandon: true },
      ]) {
        expect([change, await merge({ spec: change })]).toEqual([change, 403]);
      }
      expect(await merge({ status: { deviceIds: ['of-another'] } }, '/status')).toBe(403);
      expect(await merge({ metadata: { labels: { team: 'a' } } })).toBe(200);
      expect(await merge({ spec: { abandon: true } })).toBe(200);
      expect((await call('DELETE', path)).status).toBe(200);
      expect(await merge({ spec: { abandon: null } })).toBe(200);
      expect(await merge({ spec: { abandon: true } })).toBe(200);
      const marked = await store.sidecars.get(key, within());
      expect(marked).toMatchObject({ deleting: true, spec: { ...spec, abandon: true } });
      if (marked !== undefined) await store.sidecars.finalize(marked, within());
    });

    it('the manager may do all of it', async () => {
      await using store = kubernetesStore({ connection: server().connect() });
      const { key, spec } = fresh();
      const created = await store.sidecars.create(key, { spec, state: exampleSidecarState() }, within());
      const changed = await store.sidecars.replaceSpec(created, { ...spec, mode: 'inject', bookDeploymentId: 'other' }, within());
      const told = await store.sidecars.replaceState(changed, { ...changed.state, deviceIds: ['n1'] }, within());
      expect(told).toMatchObject({ spec: { mode: 'inject' }, state: { deviceIds: ['n1'] } });
      await store.sidecars.remove(key, within());
      const marked = await store.sidecars.get(key, within());
      if (marked !== undefined) await store.sidecars.finalize(marked, within());
      expect(await store.sidecars.get(key, within())).toBeUndefined();
    });
  });
}
