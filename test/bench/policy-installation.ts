import { NetworkManager, systemClock, verifyProof } from '@bifrost/sdk';
import { MemoryCluster, MemoryControlPlane, MemoryStore, SimulatedControl } from '@bifrost/sdk/testing';
import type { ProvenIsolation } from '@bifrost/types/core';

const PARALLEL = 16;
const RANGES = { pods: ['10.244.0.0/16'], services: ['10.96.0.0/12'], nodes: ['10.250.0.1/32'] };

/** As many customers as are asked for, each with a tailnet and one book, by a real manager on memory adapters; and what it proves of them. */
export async function provenInstallation(customers: number, networksOf: (customer: number) => readonly string[]): Promise<ProvenIsolation> {
  const clock = systemClock();
  await using cluster = new MemoryCluster({ clock, ranges: RANGES });
  const digest = `sha256:${'0'.repeat(64)}`;
  await using manager = new NetworkManager({
    ...{ cluster, store: new MemoryStore({ clock }) },
    controlPlane: new MemoryControlPlane({ control: new SimulatedControl({ tailnetLimit: customers + 1 }) }),
    images: { tailscale: `tailscale@${digest}`, agent: `agent@${digest}` },
    ...{ ingest: { url: 'https://127.0.0.1/v1/reports' }, proofIntervalMs: 0, networkPolicies: 'enforce', networkPolicyEnforced: true },
  });
  await manager.start();
  const signal = AbortSignal.timeout(600_000);
  const add = async (customer: number): Promise<void> => {
    const name = `customer-${customer}`;
    await cluster.createNamespace({ name, customerId: name });
    await cluster.createWorkload({ namespace: name, name: 'book', replicas: 1 });
    const config = { allowedNetworks: networksOf(customer), blockedNetworks: ['169.254.0.0/16'] };
    await manager.createTailnet({ customerId: name, tailnetName: name, tenancy: 'organization', config });
    await manager.waitFor({ tailnetName: name, status: 'active' }, { signal });
    await manager.attachSidecar({ bookDeploymentId: `${name}/book`, tailnetName: name, config: { hostname: 'book', acceptRoutes: true } });
  };
  for (let from = 0; from < customers; from += PARALLEL)
    await Promise.all(Array.from({ length: Math.min(PARALLEL, customers - from) }, (_, at) => add(from + at)));
  for (;;) {
    const sidecars = await manager.listSidecars();
    if (sidecars.every(({ instances }) => instances.length === 1)) break;
    await clock.sleep(20, { signal });
  }
  await cluster.settled({ signal });
  return await manager.proveIsolation({ signal });
}

/** Milliseconds to judge again all that was read. */
export function judgedMs({ proof, inputs }: ProvenIsolation): number {
  const fromMs = performance.now();
  const faults = verifyProof(proof, inputs);
  const tookMs = performance.now() - fromMs;
  if (faults.length > 0) throw new RangeError('the proof does not hold');
  return tookMs;
}
