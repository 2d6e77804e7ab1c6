import { lab } from './command.ts';
import { ControlClient, type ControlDevice, type OAuthClient, ORGANIZATION } from './control.ts';
import { eventually } from './eventually.ts';
import type { Kubernetes } from './kubernetes.ts';

export interface GatewayInput {
  /** Lower-case letters, digits, hyphen; at most 10. Names the machine and its page `private network of NAME`. */
  readonly name: string;
  /** What the customer's router announces and the customer approves. @default ['10.1.0.0/24'] */
  readonly routes?: readonly string[];
  /** Where the customer's page is, port 8000, and 8001 that policies may leave out. On port 8080 it is on all addresses of the machine. @default '10.1.0.10' */
  readonly address?: string;
  /** Where the page is as well. */
  readonly otherAddresses?: readonly string[];
  /** @default ['tag:gateway'] */
  readonly tags?: readonly string[];
}

/** A customer with a machine in its own network, as joined by the customer: Bifrost knows nothing of it. Disposing ends the machine. */
export interface Customer extends AsyncDisposable {
  readonly name: string;
  /** API v2 with the tailnet's own client. */
  readonly control: ControlClient;
  readonly pageUrl: string;
  readonly otherPortUrl: string;
  readonly page: string;
  readonly gateway: ControlDevice;
}

/** Creates a tailnet in the lab's organization, as the platform or the customer would by hand (tenancy `customer-owned`). */
export async function createTailnetByHand(displayName: string): Promise<OAuthClient> {
  await using organization = new ControlClient(ORGANIZATION);
  return (await organization.createTailnet(displayName)).oauthClient;
}

/** The client of a tailnet whose Secret lies in the manager's namespace (keys `client_id`, `client_secret`). */
export async function clientOfSecret(kubernetes: Kubernetes, name: string, namespace = 'bifrost'): Promise<OAuthClient> {
  const secret = await kubernetes.get<{ data: Record<string, string> }>({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace } });
  if (!secret) throw new Error(`there is no Secret ${namespace}/${name}`);
  const value = (key: string): string => Buffer.from(secret.data[key] ?? '', 'base64').toString('utf8');
  return { id: value('client_id'), secret: value('client_secret') };
}

/** Starts the customer's machine, joins it by a key of the customer's own, and approves its routes. The tailnet's policy has to own the tags. */
export async function joinGateway(client: OAuthClient, input: GatewayInput): Promise<Customer> {
  const { name, routes = ['10.1.0.0/24'], address = '10.1.0.10', otherAddresses = [], tags = ['tag:gateway'] } = input;
  const control = new ControlClient(client);
  const { key } = await control.createKey({ tags, description: `gateway-${name}` });
  await lab(['gateway', name, routes.join(','), [address, ...otherAddresses].join(',')], { input: key });
  const gateway = await eventually(`the gateway of ${name} has joined and announces its routes`, async () => {
    const device = (await control.devices()).find(({ hostname }) => hostname === `gateway-${name}`);
    return device && routes.every((route) => device.advertisedRoutes.includes(route)) ? device : undefined;
  });
  await control.approveRoutes(gateway.nodeId, routes);
  return {
    name,
    control,
    gateway,
    pageUrl: `http://${address}:8000/`,
    otherPortUrl: `http://${address}:8001/`,
    page: `private network of ${name}`,
    async [Symbol.asyncDispose]() {
      await lab(['leave', name]);
      await control[Symbol.asyncDispose]();
    },
  };
}
