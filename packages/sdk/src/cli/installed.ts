import { BifrostError } from '@bifrost/types/core';
import { kubernetesCluster } from '../adapters/kubernetes/cluster.ts';
import { type KubernetesConnection, kubernetes } from '../adapters/kubernetes/connection.ts';
import { clusterError } from '../adapters/kubernetes/errors.ts';
import { type Installation, readInstallation } from '../adapters/kubernetes/installation.ts';
import { kubernetesStore } from '../adapters/kubernetes/store.ts';
import { tailscaleControlPlane } from '../adapters/tailscale/control-plane.ts';
import { NetworkManager } from '../manager/network-manager.ts';
import type { NetworkManagerOptions } from '../manager/options.ts';
import type { Cluster, ControlCredential, ControlPlane, SecretReference, Store } from '../ports/index.ts';
import type { Cli } from './cli.ts';
import { type GlobalOptions, usage } from './connect.ts';

/** The SDK on the cluster of a kubeconfig, set up as the manager that is installed there, and not started. */
export interface Installed extends AsyncDisposable {
  readonly kube: KubernetesConnection;
  readonly cluster: Cluster;
  readonly store: Store;
  readonly controlPlane: ControlPlane;
  readonly manager: NetworkManager;
  /** The manager's own Deployment, or why nobody knows. */
  readonly installation: Installation | undefined;
  readonly trouble: BifrostError | undefined;
  readonly place: { readonly namespace: string; readonly name: string };
  /** Its variables; those of this command come first. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly organization: ControlCredential | undefined;
  /** What agents are to trust, from the Secret that the manager has mounted. */
  readonly caBundle: string | undefined;
  /** What lacks, or is wrong, so that no sidecar can be rendered as the manager would. */
  readonly lacking: readonly string[];
}

const NEEDED = ['BIFROST_TAILSCALE_IMAGE', 'BIFROST_AGENT_IMAGE', 'BIFROST_INGEST_URL'] as const;
const NUMBERS = {
  attachDeadlineMs: 'BIFROST_ATTACH_DEADLINE_MS',
  driftWindowMs: 'BIFROST_DRIFT_WINDOW_MS',
  registrationMs: 'BIFROST_REGISTRATION_MS',
} as const;
const UNSET = `unset@sha256:${'0'.repeat(64)}`;

function placeOf({ manager }: GlobalOptions): Installed['place'] {
  const [namespace = '', name = '', ...rest] = manager.split('/');
  if (namespace === '' || name === '' || rest.length > 0) throw usage('--manager takes namespace/name.', '--manager');
  return { namespace, name };
}

/** Nothing that is known to be needed is missing from what people see: a cluster that does not answer is told by the first call that needs it. */
export async function openInstalled(options: GlobalOptions, cli: Cli): Promise<Installed> {
  const place = placeOf(options);
  await using stack = new AsyncDisposableStack();
  const { kubeconfig, context } = options;
  const kube = stack.use(kubernetes({ ...(kubeconfig === undefined ? {} : { kubeconfig }), ...(context === undefined ? {} : { context }) }));
  const [cluster, store] = [kubernetesCluster({ connection: kube }), kubernetesStore({ connection: tellingDenials(kube) })];
  const found = await readInstallation(kube, place, cli).catch((error: unknown) => asTrouble(error));
  const [installation, trouble] = BifrostError.is(found) ? [undefined, found] : [found, undefined];
  const environment = { ...installation?.environment, ...ownOf(cli) };
  const secretOf = async (name: string | undefined): ReturnType<Cluster['secrets']['get']> =>
    name === undefined || trouble !== undefined ? undefined : quietly(cluster, { namespace: place.namespace, name }, cli);
  const organization = credentialIn(await secretOf(environment['BIFROST_ORGANIZATION_SECRET']));
  const caBundle = (await secretOf(installation?.tlsSecretName))?.get('ca.crt')?.reveal();
  const [baseUrl, loginServer] = [environment['BIFROST_CONTROL_URL'], environment['BIFROST_LOGIN_SERVER']];
  const controlPlane = tailscaleControlPlane({
    ...{ clock: cli.clock, ...(organization ? { organization } : {}) },
    ...{ ...(baseUrl ? { baseUrl } : {}), ...(loginServer ? { loginServer } : {}) },
  });
  const parts = { cluster, store, controlPlane, clock: cli.clock, systemNamespace: place.namespace };
  const { manager, lacking } = managerOf(parts, { environment, caBundle });
  stack.use(manager);
  const owned = stack.move();
  const close = { [Symbol.asyncDispose]: () => owned.disposeAsync() };
  return { kube, cluster, store, controlPlane, manager, installation, trouble, place, environment, organization, caBundle, lacking, ...close };
}

/**
 * To a manager a store that does not let it is one that is away, and it tries again. Here it is whoever runs the command who is not let: to be told as it is,
 * since the same again would be refused again.
 */
const tellingDenials = (kube: KubernetesConnection): KubernetesConnection => ({
  logger: kube.logger,
  send: async (request) => {
    const answer = await kube.send<never>(request);
    const denied = answer.ok ? undefined : clusterError(answer.problem, `${request.method} ${request.path}`);
    if (denied?.code === 'CLUSTER_DENIED') throw denied;
    return answer;
  },
  stream: (request) => kube.stream(request),
  retain: () => kube.retain(),
  [Symbol.asyncDispose]: () => kube[Symbol.asyncDispose](),
});

/** Whoever is not allowed to read it goes without. */
const quietly = (cluster: Cluster, secret: SecretReference, { signal }: Cli): ReturnType<Cluster['secrets']['get']> =>
  cluster.secrets.get(secret, { signal }).catch((error: unknown) => {
    if (BifrostError.is(error)) return undefined;
    throw error;
  });

function asTrouble(error: unknown): BifrostError {
  if (BifrostError.is(error)) return error;
  throw error;
}

const ownOf = ({ env }: Cli): Record<string, string | undefined> =>
  Object.fromEntries(
    Object.entries(env).filter(
      ([name, value]) => /^BIFROST_(?:TAILSCALE_IMAGE|AGENT_IMAGE|INGEST_URL|LOGIN_SERVER|CONTROL_URL)$/.test(name) && value,
    ),
  );

function credentialIn(secret: Awaited<ReturnType<Cluster['secrets']['get']>>): ControlCredential | undefined {
  const [clientId, clientSecret] = [secret?.get('client_id'), secret?.get('client_secret')];
  return clientId === undefined || clientSecret === undefined ? undefined : { clientId: clientId.reveal(), clientSecret };
}

type Parts = Pick<NetworkManagerOptions, 'cluster' | 'store' | 'controlPlane' | 'clock' | 'systemNamespace'>;

interface Told {
  readonly environment: Installed['environment'];
  readonly caBundle: string | undefined;
}

/** Set up by what the installed manager was told; where that is not enough, so that it can at least read. */
function managerOf(parts: Parts, { environment, caBundle }: Told): Pick<Installed, 'manager' | 'lacking'> {
  const missing = NEEDED.filter((name) => !environment[name]);
  const images = { tailscale: environment['BIFROST_TAILSCALE_IMAGE'] || UNSET, agent: environment['BIFROST_AGENT_IMAGE'] || UNSET };
  const ingest = { url: environment['BIFROST_INGEST_URL'] || 'https://unset.invalid', ...(caBundle === undefined ? {} : { caBundle }) };
  const readOnly = environment['BIFROST_READ_ONLY'] === 'true';
  try {
    return { manager: new NetworkManager({ ...parts, images, ingest, readOnly, ...settingsOf(environment) }), lacking: missing };
  } catch (error) {
    if (!BifrostError.is(error)) throw error;
    const lacking = error.issues.map(({ path, message }) => `${path}: ${message}`);
    return {
      manager: new NetworkManager({ ...parts, images: { tailscale: UNSET, agent: UNSET }, ingest: { url: 'https://unset.invalid' }, readOnly }),
      lacking,
    };
  }
}

/** What cannot be read is as if it had not been told: the manager says so at its own start. */
function policiesOf(environment: Installed['environment']): Partial<NetworkManagerOptions> {
  const [use, endpoints] = [environment['BIFROST_NETWORK_POLICIES'], environment['BIFROST_NETWORK_POLICY_ENDPOINTS']];
  return {
    ...(use ? { networkPolicies: use as NonNullable<NetworkManagerOptions['networkPolicies']> } : {}),
    ...(endpoints ? { networkPolicyEndpoints: parsed(endpoints) } : {}),
  };
}

function parsed(text: string): NonNullable<NetworkManagerOptions['networkPolicyEndpoints']> {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** As examples/network-manager reads them. */
function settingsOf(environment: Installed['environment']): Partial<NetworkManagerOptions> {
  const heartbeatMs = Number(environment['BIFROST_HEARTBEAT_MS'] || 10_000);
  const silenceMs = Number(environment['BIFROST_SILENCE_MS'] || Math.max(8_000, Math.round(heartbeatMs * 3.5)));
  const loginServer = environment['BIFROST_LOGIN_SERVER'];
  const sharedCredentialSecretName = environment['BIFROST_SHARED_SECRET'];
  const nodeAttributes = environment['BIFROST_NODE_ATTRIBUTES'];
  const numbers = Object.entries(NUMBERS).flatMap(([setting, name]) => (environment[name] ? [[setting, Number(environment[name])] as const] : []));
  return {
    heartbeatMs,
    silenceMs,
    ...(loginServer ? { loginServer } : {}),
    ...(sharedCredentialSecretName ? { sharedCredentialSecretName } : {}),
    ...(nodeAttributes ? { nodeAttributes: nodeAttributes.split(',') } : {}),
    networkPolicyEnforced: environment['BIFROST_NETWORK_POLICY_ENFORCED'] === 'true',
    ...policiesOf(environment),
    ...Object.fromEntries(numbers),
  };
}
