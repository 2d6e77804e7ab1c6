import type { NetworkConfiguration } from '@bifrost/types/core';

export interface InitialPolicyInput {
  readonly config: NetworkConfiguration;
  /** Tags of our devices. */
  readonly bookTags: readonly string[];
  /** Tag of the customer's routers. */
  readonly routerTag: string;
}

/**
 * The policy of a tailnet that we made. A new tailnet allows everything, so this is written before its first key: our books may reach the allowed
 * networks, nothing else is granted. Blocked networks are enforced by the guard in each pod. The same input gives the same text.
 */
export function initialPolicy({ config, bookTags, routerTag }: InitialPolicyInput): string {
  const tags = [...new Set([...bookTags, routerTag])].sort();
  const networks = [...new Set(config.allowedNetworks)].sort();
  const document = {
    tagOwners: Object.fromEntries(tags.map((tag) => [tag, []])),
    autoApprovers: { routes: Object.fromEntries(networks.map((network) => [network, [routerTag]])) },
    // Present even when empty: a policy without this section would allow everything.
    grants: networks.length === 0 ? [] : [{ src: [...bookTags].sort(), dst: networks, ip: ['*'] }],
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}
