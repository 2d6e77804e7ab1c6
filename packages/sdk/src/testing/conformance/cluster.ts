import { Secret } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { describeAdmit, describeAttach, describeConflicts } from './cluster-attach.ts';
import { describeAmbiguous, describeFind, describeGet, describeOwn } from './cluster-find.ts';
import { describeKinds } from './cluster-kinds.ts';
import { describeAbort, describeIdentities, describePods } from './cluster-pods.ts';
import { describeNetworkPolicies, exampleManifest } from './cluster-policies.ts';
import { describeRepair } from './cluster-repair.ts';
import { describeSecrets } from './cluster-secrets.ts';
import { bench, call, change, fresh, type OpenCluster, present } from './cluster-support.ts';
import { describeWorkloadWatch } from './cluster-watch.ts';
import { exampleFragment } from './store-examples.ts';

export type { ClusterAdmin, ClusterUnderTest, NamespaceRequest, OpenCluster, OutsideChange, WorkloadRequest } from './cluster-support.ts';

/**
 * The suite of the Cluster port. `open` is called for each case and gives a cluster that is not started: the suite starts and disposes it.
 * The cluster behind it may hold other things: each case makes namespaces of its own through `admin`.
 */
export function describeCluster(adapter: string, open: OpenCluster): void {
  describe(`Cluster port: ${adapter}`, () => {
    describeFind(open);
    describeAmbiguous(open);
    describeOwn(open);
    describeGet(open);
    describeAttach(open);
    describeConflicts(open);
    describeAdmit(open);
    describeKinds(open);
    describeWorkloadWatch(open);
    describeRepair(open);
    describeSecrets(open);
    describeNetworkPolicies(open);
    describePods(open);
    describeIdentities(open);
    describeAbort(open);
    describeRest(open);
  });
}

function describeRest(open: OpenCluster): void {
  it('C31: an aborted call rejects with the reason itself and changes nothing', () =>
    bench(open, async ({ cluster, admin, workload }) => {
      const reference = await workload();
      const before = await admin.readWorkload(reference);
      const book = await present(cluster, reference);
      const reason = new Error('caller left');
      const options = { signal: AbortSignal.abort(reason) };
      const secret = { namespace: reference.namespace, name: fresh('bifrost') };
      const { workloads, secrets, pods, identities, topology, networkPolicies } = cluster;
      const manifest = exampleManifest(reference.namespace);
      await expect(workloads.find(reference.uid, options)).rejects.toBe(reason);
      await expect(workloads.get(reference, options)).rejects.toBe(reason);
      await expect(workloads.attach(change(reference), options)).rejects.toBe(reason);
      await expect(workloads.detach(change(reference), options)).rejects.toBe(reason);
      await expect(workloads.admit(book, exampleFragment(crypto.randomUUID()), options)).rejects.toBe(reason);
      await expect(secrets.get(secret, options)).rejects.toBe(reason);
      await expect(secrets.put({ ...secret, labels: {}, data: new Map() }, options)).rejects.toBe(reason);
      await expect(secrets.remove(secret, options)).rejects.toBe(reason);
      await expect(secrets.list(options)).rejects.toBe(reason);
      await expect(pods.list(options)).rejects.toBe(reason);
      await expect(pods.watch(options)[Symbol.asyncIterator]().next()).rejects.toBe(reason);
      await expect(identities.reviewPodToken(new Secret('x'), options)).rejects.toBe(reason);
      await expect(topology.ranges(options)).rejects.toBe(reason);
      await expect(topology.networkPolicies(reference.namespace, options)).rejects.toBe(reason);
      await expect(topology.service({ namespace: 'kube-system', name: 'kube-dns' }, options)).rejects.toBe(reason);
      await expect(networkPolicies.list(options)).rejects.toBe(reason);
      await expect(networkPolicies.put(manifest, options)).rejects.toBe(reason);
      await expect(networkPolicies.remove(manifest.metadata, options)).rejects.toBe(reason);
      await expect(workloads.customerOf(reference.namespace, options)).rejects.toBe(reason);
      await expect(workloads.watch(options)[Symbol.asyncIterator]().next()).rejects.toBe(reason);
      expect(await admin.readWorkload(reference)).toEqual(before);
      expect(await secrets.get(secret, call())).toBeUndefined();
      expect(await topology.networkPolicies(reference.namespace, call())).toEqual([]);
    }));

  it('C32: ranges are CIDRs of pods, Services and nodes, or undefined', () =>
    bench(open, async ({ cluster }) => {
      const ranges = await cluster.topology.ranges(call());
      if (ranges === undefined) return;
      for (const list of [ranges.pods, ranges.services, ranges.nodes]) {
        expect(list.length).toBeGreaterThan(0);
        for (const cidr of list) expect(cidr).toMatch(/^[0-9a-f.:]+\/\d{1,3}$/);
      }
    }));

  it('C33: the cluster says which adapter it is, and disposing twice is safe', () =>
    bench(open, async ({ cluster }) => {
      expect(cluster.kind).toMatch(/^[a-z][a-z0-9-]*$/);
      await cluster[Symbol.asyncDispose]();
    }));
}
