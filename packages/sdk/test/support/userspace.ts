import type { NetworkPolicyShape } from '../../src/domain/network-policy-shape.ts';
import { type Opened, openWorld, type WorldOptions } from './world.ts';

/** Lets out to the Internet, and to no network of the specification's tailnet; `letOut` makes holes in that. */
export const denying = (...letOut: readonly string[]): NetworkPolicyShape => ({
  name: 'no-clear-egress',
  podSelector: {},
  policyTypes: ['Egress'],
  ingress: [],
  egress: [
    { to: [{ ipBlock: { cidr: '0.0.0.0/0', except: ['10.0.0.0/8', '192.168.0.0/16', '172.16.0.0/12', '100.64.0.0/10'] } }] },
    ...letOut.map((cidr) => ({ to: [{ ipBlock: { cidr } }] })),
  ],
});

/** What pod security level `restricted` asks of a book. */
const securityContext = {
  allowPrivilegeEscalation: false,
  runAsNonRoot: true,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
};

/** A world whose book may run under `restricted`, which its namespace enforces unless told otherwise. */
export async function restrictedWorld({
  enforce = 'restricted',
  policies = [denying()],
  settings = { networkPolicyEnforced: true },
}: {
  readonly enforce?: 'privileged' | 'restricted';
  readonly policies?: readonly NetworkPolicyShape[];
  readonly settings?: WorldOptions['settings'];
} = {}): Promise<Opened> {
  const containers = [{ name: 'book', image: 'book', securityContext }];
  const world = await openWorld({ ...(settings && { settings }), book: { containers } });
  await world.cluster.createNamespace({ name: 'acme-corp', customerId: 'acme-corp', enforce });
  await world.cluster.setNetworkPolicies('acme-corp', policies);
  return world;
}
