import { expect, it } from 'vitest';
import { LABELS, MANAGED_BY } from '../../domain/names.ts';
import { CLUSTER_DNS, type NetworkPolicyManifest, networkPoliciesOf, shapeOf } from '../../domain/policy/network-policies.ts';
import type { Cluster } from '../../ports/cluster.ts';
import { bench, call, fresh, type OpenCluster } from './cluster-support.ts';

/** One of ours, whole as it is written for a book. */
export function exampleManifest(
  namespace: string,
  { sidecarId = crypto.randomUUID() as string, withheld = ['10.9.0.0/16'] } = {},
): NetworkPolicyManifest {
  const outside = [{ at: [{ kind: 'outside' as const }], ports: [{ protocol: 'tcp' as const, port: 443 }] }];
  const ranges = { pods: ['10.244.0.0/16'], services: ['10.96.0.0/12'], nodes: ['192.0.2.1/32'] };
  const ingest = [
    { at: [{ kind: 'pods' as const, namespaceLabels: {}, podLabels: { app: 'ingest' } }], ports: [{ protocol: 'tcp' as const, port: 'reports' }] },
  ];
  const given = { sidecarId, namespace, ranges, dns: [CLUSTER_DNS], ingest, control: outside, relays: [], withheld };
  return networkPoliciesOf(given)[0] as NetworkPolicyManifest;
}

const ofBook = ({ metadata: { namespace, labels } }: NetworkPolicyManifest) => ({ namespace, sidecarId: labels[LABELS.sidecarId] ?? '' });
const listed = (cluster: Cluster, manifest: NetworkPolicyManifest) => cluster.networkPolicies.list({ ...call(), of: ofBook(manifest) });
/** As it is read back. */
const whole = (manifest: NetworkPolicyManifest): object => ({
  ...{ ...shapeOf(manifest), namespace: manifest.metadata.namespace },
  labels: { ...manifest.metadata.labels, [LABELS.managedBy]: MANAGED_BY },
});

export function describeNetworkPolicies(open: OpenCluster): void {
  it('C41: put creates a NetworkPolicy, put again replaces its rules, and both ways of reading tell it whole', () =>
    bench(open, async ({ cluster, namespace }) => {
      const first = exampleManifest(await namespace());
      const { sidecarId } = ofBook(first);
      await cluster.networkPolicies.put(first, call());
      expect(await listed(cluster, first)).toEqual([whole(first)]);
      expect(await cluster.topology.networkPolicies(first.metadata.namespace, call())).toEqual([shapeOf(first)]);
      const second = exampleManifest(first.metadata.namespace, { sidecarId, withheld: [] });
      await cluster.networkPolicies.put(second, call());
      expect(await listed(cluster, first)).toEqual([whole(second)]);
    }));

  it('C42: of one attachment are listed its own and no others, and without it ours in all namespaces', () =>
    bench(open, async ({ cluster, admin, namespace }) => {
      const [mine, neighbour] = [exampleManifest(await namespace()), exampleManifest(await namespace())];
      const same = exampleManifest(mine.metadata.namespace);
      for (const manifest of [mine, neighbour, same]) await cluster.networkPolicies.put(manifest, call());
      const foreign = { ...shapeOf(mine), name: 'theirs' };
      await admin.setNetworkPolicies(mine.metadata.namespace, [foreign]);
      expect(await listed(cluster, mine)).toEqual([whole(mine)]);
      const all = await cluster.networkPolicies.list(call());
      expect(all).toEqual(expect.arrayContaining([mine, neighbour, same].map(whole)));
      expect(all.map(({ name }) => name)).not.toContain('theirs');
      expect((await cluster.topology.networkPolicies(mine.metadata.namespace, call())).map(({ name }) => name).sort()).toEqual(
        [mine.metadata.name, same.metadata.name, 'theirs'].sort(),
      );
    }));

  it('C43: what somebody else changed in one of ours, or added to it, put takes back; one that was deleted it makes anew', () =>
    bench(open, async ({ cluster, admin, namespace }) => {
      const manifest = exampleManifest(await namespace());
      await cluster.networkPolicies.put(manifest, call());
      const opened = { ...shapeOf(manifest), policyTypes: ['Ingress', 'Egress'], egress: [{}], ingress: [{}] };
      await admin.changeNetworkPolicy(manifest.metadata, opened);
      expect(await listed(cluster, manifest)).toMatchObject([opened]);
      await cluster.networkPolicies.put(manifest, call());
      expect(await listed(cluster, manifest)).toEqual([whole(manifest)]);
      await admin.changeNetworkPolicy(manifest.metadata, undefined);
      expect(await listed(cluster, manifest)).toEqual([]);
      await cluster.networkPolicies.put(manifest, call());
      expect(await listed(cluster, manifest)).toEqual([whole(manifest)]);
    }));

  it('C44: one that is not ours is neither written nor removed, whatever its name', () =>
    bench(open, async ({ cluster, admin, namespace }) => {
      const manifest = exampleManifest(await namespace());
      const { namespace: place, name } = manifest.metadata;
      const theirs = { ...shapeOf(manifest), egress: [], ingress: [], policyTypes: ['Egress'] };
      await admin.setNetworkPolicies(place, [theirs]);
      await expect(cluster.networkPolicies.put(manifest, call())).rejects.toMatchObject({
        code: 'FIELD_CONFLICT',
        details: { namespace: place, name },
      });
      await cluster.networkPolicies.remove(manifest.metadata, call());
      expect(await cluster.topology.networkPolicies(place, call())).toEqual([theirs]);
      expect(await listed(cluster, manifest)).toEqual([]);
    }));

  it('C45: remove ends one of ours; absent is success', () =>
    bench(open, async ({ cluster, namespace }) => {
      const manifest = exampleManifest(await namespace());
      await cluster.networkPolicies.remove(manifest.metadata, call());
      await cluster.networkPolicies.put(manifest, call());
      await cluster.networkPolicies.remove(manifest.metadata, call());
      await cluster.networkPolicies.remove(manifest.metadata, call());
      expect(await cluster.topology.networkPolicies(manifest.metadata.namespace, call())).toEqual([]);
    }));

  it('C46: a Service is told with its addresses, the pods that it selects and their ports; one that is not there is not', () =>
    bench(open, async ({ cluster, admin, namespace }) => {
      const service = { namespace: await namespace(), name: fresh('service') };
      expect(await cluster.topology.service({ ...service, name: fresh('absent') }, call())).toBeUndefined();
      const ports = [
        { protocol: 'udp' as const, port: 53, targetPort: 5353 },
        { protocol: 'tcp' as const, port: 8443, targetPort: 'reports' },
      ];
      await admin.createService({ ...service, selector: { app: 'ingest' }, ports });
      const found = await cluster.topology.service(service, call());
      expect(found).toMatchObject({ selector: { app: 'ingest' }, ports });
      expect(found?.addresses).toEqual([expect.stringMatching(/^[0-9a-f.:]+$/)]);
    }));
}
