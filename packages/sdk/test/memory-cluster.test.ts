import { MemoryCluster } from '../src/adapters/memory/cluster.ts';
import { systemClock } from '../src/adapters/system/clock.ts';
import { type ClusterAdmin, describeCluster } from '../src/testing/conformance/cluster.ts';

const call = () => ({ signal: AbortSignal.timeout(5_000) });

describeCluster('memory', async () => {
  const cluster = new MemoryCluster({
    clock: systemClock(),
    nodes: 0,
    ranges: { pods: ['10.244.0.0/16'], services: ['10.96.0.0/16'], nodes: ['192.168.0.0/24'] },
  });
  const admin: ClusterAdmin = {
    createNamespace: (namespace) => cluster.createNamespace(namespace),
    createWorkload: (workload) => cluster.createWorkload(workload),
    readWorkload: (workload) => cluster.readWorkload(workload),
    changeWorkload: (workload, change) => cluster.changeWorkload(workload, change),
    updateWorkload: (workload, manager, edit) => cluster.updateWorkload(workload, edit, manager),
    annotateWorkload: (workload, annotations) => cluster.annotateWorkload(workload, annotations),
    setNetworkPolicies: (namespace, policies) => cluster.setNetworkPolicies(namespace, policies),
    changeNetworkPolicy: (policy, shape) => cluster.changeNetworkPolicy(policy, shape),
    createService: ({ namespace, name, ...service }) => cluster.setService({ namespace, name }, { addresses: ['10.96.7.7'], ...service }),
    finishJob: async (job) => {
      await cluster.scale(job, 1);
      await cluster.settled(call());
      for (const { uid } of cluster.podsOf(job)) cluster.endContainer(uid, 'book');
      await cluster.settled(call());
    },
    deleteWorkload: (workload) => cluster.deleteWorkload(workload),
    createSecret: (secret) => cluster.createSecret(secret),
    deleteNamespace: (name) => cluster.deleteNamespace(name),
    issuePodToken: (podUid, audience) => cluster.issuePodToken(podUid, audience),
    runPods: async (workload) => {
      if (workload.kind === 'DaemonSet') await cluster.setNodes(1);
      else if (workload.kind === 'CronJob') await cluster.startJob(workload);
      else await cluster.scale(workload, 1);
      await cluster.settled(call());
      return cluster.podsOf(workload).map(({ uid }) => uid);
    },
  };
  return { cluster, admin };
});
