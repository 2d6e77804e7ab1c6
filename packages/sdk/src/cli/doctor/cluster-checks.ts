import { X509Certificate } from 'node:crypto';
import { BifrostError } from '@bifrost/types/core';
import { customerNamespaces, definitionStands, readyEndpoints, serverVersion, waitingContainers } from '../../adapters/kubernetes/diagnostics.ts';
import { MANAGER_RIGHTS, missingRights, type Right } from '../../adapters/kubernetes/rights.ts';
import type { Installed } from '../installed.ts';
import { countText, durationText } from '../quantities.ts';
import type { Session } from '../session.ts';
import { type Check, fail, failed, ok, type Seen, skipped, warn } from './check.ts';
import { controlChecks } from './control-checks.ts';
import { few, objectChecks } from './object-checks.ts';
import type { Probe } from './probe.ts';

const LEAST_MINOR = 31;
const EXPIRY_MS = 14 * 86_400_000;
const APPLY = 'kubectl apply --server-side -k examples/deploy (docs: examples/deploy/README.md)';

async function kubernetes({ kube }: Installed, session: Session): Promise<Seen> {
  const { major, minor, text } = await serverVersion(kube, session);
  const isOld = major < 1 || (major === 1 && minor < LEAST_MINOR);
  return isOld ? fail(`the API server is ${text}`, `use Kubernetes 1.${LEAST_MINOR} or later`) : ok(`the API server is ${text}`);
}

async function definitions({ kube }: Installed, session: Session): Promise<Seen> {
  const stands = await definitionStands(kube, session);
  const wrong = stands.filter(({ stand }) => stand !== 'current');
  const seen = few(wrong.map(({ name, stand, differs }) => `${name} is ${stand}${differs === undefined ? '' : ` (${differs})`}`));
  if (wrong.some(({ stand }) => stand !== 'another')) return fail(seen, APPLY);
  return wrong.length > 0
    ? warn(seen, `apply the definitions of this version before its manager: ${APPLY}`)
    : ok(`${countText(stands.length, 'custom resource')}, as this version has them`);
}

const rightText = ({ group, resource, verb }: Right): string => `${verb} ${resource}${group === '' ? '' : `.${group}`}`;

/** Of the manager's account; of whoever asks, where they may not ask about others. */
async function rights({ kube, place, installation }: Installed, session: Session): Promise<Seen> {
  const account = { namespace: place.namespace, name: installation?.serviceAccount ?? 'bifrost' };
  let who = `ServiceAccount ${account.namespace}/${account.name}`;
  const lacking = await missingRights(kube, { wanted: MANAGER_RIGHTS, account }, session).catch((error: unknown) => {
    if (!BifrostError.is(error) || error.code !== 'CLUSTER_DENIED') throw error;
    who = 'you (who may not ask about the manager)';
    return missingRights(kube, { wanted: MANAGER_RIGHTS }, session);
  });
  if (lacking.length === 0) return ok(`${who} may do all that examples/deploy/rbac.yaml grants`);
  return fail(`${who} may not: ${few(lacking.map(rightText))}`, 'grant what examples/deploy/rbac.yaml grants; docs/runbooks/CLUSTER_DENIED.md');
}

function manager({ installation, trouble, place }: Installed): Seen {
  const name = `${place.namespace}/${place.name}`;
  if (trouble !== undefined) return failed(trouble);
  if (installation === undefined) return fail(`there is no Deployment ${name}`, `name it with --manager, or install it: ${APPLY}`);
  const { images: own, readyReplicas, wantedReplicas } = installation;
  if (readyReplicas === 0)
    return fail(`${name} has no ready pod`, `kubectl -n ${place.namespace} describe deployment ${place.name}; without it nothing is changed`);
  if (wantedReplicas > 1) return fail(`${name} wants ${wantedReplicas} replicas`, 'one manager per cluster: two would both write');
  const loose = own.filter((image) => !image.includes('@sha256:'));
  if (loose.length > 0) return warn(`${name} runs, but is not pinned: ${few(loose)}`, 'name it by digest in your overlay (`images`)');
  return ok(`${name} runs, its images are pinned`);
}

function settings({ lacking, environment }: Installed): Seen {
  if (lacking.length > 0)
    return fail(
      `not known, or not usable: ${few(lacking)}`,
      'set them in settings.env of your overlay, images by digest; docs/runbooks/INVALID_OPTIONS.md',
    );
  const isClear = environment['BIFROST_INGEST_URL']?.startsWith('http:') === true;
  return isClear
    ? warn('reports go in clear', 'use https in BIFROST_INGEST_URL')
    : ok('images of the sidecar are pinned by digest, reports go by https');
}

async function podSecurity({ kube, environment }: Installed, session: Session): Promise<Seen> {
  const namespaces = await customerNamespaces(kube, session);
  if (namespaces.length === 0) return warn('no namespace says whose it is', 'label the customers’ namespaces bifrost.dev/customer-id');
  const strict = namespaces.filter(({ enforce }) => enforce === 'baseline' || enforce === 'restricted');
  if (strict.length === 0) return ok(`${countText(namespaces.length, 'namespace')} of customers; by their labels all admit kernel mode`);
  const seen = `kernel mode is not admitted in ${few(strict.map(({ name, enforce }) => `${name} (${enforce})`))}`;
  if (environment['BIFROST_NETWORK_POLICY_ENFORCED'] === 'true') return ok(`${seen}; userspace mode needs a NetworkPolicy there`);
  return warn(
    seen,
    'label them pod-security.kubernetes.io/enforce=privileged, or use userspace mode: docs/guides/running.md; docs/runbooks/POD_SECURITY_FORBIDDEN.md',
  );
}

async function images({ kube }: Installed, session: Session): Promise<Seen> {
  const { pods, waiting } = await waitingContainers(kube, session);
  if (pods === 0) return skipped('no pod has a sidecar yet: whether nodes can pull the images shows then');
  if (waiting.length === 0) return ok(`${countText(pods, 'pod')} with a sidecar; their images are there`);
  const pulls = waiting.filter(({ reason }) => /Image|Pull/.test(reason));
  const told = (pulls.length > 0 ? pulls : waiting).map(
    ({ pod, container, reason, image }) => `${pod} ${container}: ${reason}${/Image|Pull/.test(reason) ? ` (${image})` : ''}`,
  );
  if (pulls.length > 0) return fail(few(told), 'check the image’s name, digest, and the nodes’ way to its registry');
  return warn(few(told), 'kubectl describe pod, and the container’s log');
}

async function certificate({ cluster, installation, place, environment }: Installed, session: Session): Promise<Seen> {
  const name = installation?.tlsSecretName;
  if (name === undefined) return skipped('no Deployment tells which Secret holds it');
  const data = await cluster.secrets.get({ namespace: place.namespace, name }, session);
  const lacking = ['tls.crt', 'tls.key', 'ca.crt'].filter((key) => data?.get(key) === undefined);
  if (data === undefined || lacking.length > 0)
    return fail(`Secret ${place.namespace}/${name} lacks ${lacking.join(', ')}`, 'make it as examples/deploy/README.md says');
  const [own, authority] = ['tls.crt', 'ca.crt'].map((key) => certificateIn(data.get(key)?.reveal() ?? ''));
  if (own === undefined || authority === undefined)
    return fail(`Secret ${place.namespace}/${name} holds no PEM certificates`, 'make it as examples/deploy/README.md says');
  const host = URL.parse(environment['BIFROST_INGEST_URL'] ?? '')?.hostname;
  if (host !== undefined && own.checkHost(host) === undefined)
    return fail(`it is not for ${host}`, 'agents refuse it: issue one for the host of BIFROST_INGEST_URL');
  const leftMs = Date.parse(own.validTo) - session.cli.clock.nowMs();
  if (leftMs <= 0) return fail(`it expired ${durationText(-leftMs)} ago`, 'renew it: a running manager takes it up by itself');
  if (!own.checkIssued(authority) && own.fingerprint256 !== authority.fingerprint256)
    return warn('ca.crt has not signed it itself', 'fine with an authority in between whose certificate is in tls.crt; else agents refuse it');
  return leftMs < EXPIRY_MS
    ? warn(`it is good for ${durationText(leftMs)}`, 'renew it: a running manager takes it up by itself')
    : ok(`it is for ${host ?? 'its host'} and good for ${durationText(leftMs)}`);
}

function certificateIn(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined; // what it is instead is nobody's business
  }
}

async function ingest({ kube, environment }: Installed, session: Session): Promise<Seen> {
  const url = URL.parse(environment['BIFROST_INGEST_URL'] ?? '');
  const [name, namespace, kind] = url?.hostname.split('.') ?? [];
  if (url === null || name === undefined || namespace === undefined || kind !== 'svc')
    return skipped(`${url?.host ?? 'it'} is no Service of this cluster: ask from a pod`);
  const ready = await readyEndpoints(kube, { namespace, name }, session);
  if (ready === undefined) return fail(`there is no Service ${namespace}/${name}`, `agents report to it: ${APPLY}`);
  return ready === 0
    ? fail(`Service ${namespace}/${name} has no ready pod behind it`, 'see the check `manager`')
    : ok(`Service ${namespace}/${name} has ${countText(ready, 'ready pod')} behind it`);
}

/** Checks of the cluster, as far as this kubeconfig's user may look. */
export function clusterChecks(installed: Installed, session: Session, probe: Probe): readonly Check[] {
  // An API server that does not answer is told once.
  let reached: Promise<Seen> | undefined;
  const reach = (): Promise<Seen> => {
    reached ??= kubernetes(installed, session).catch((error: unknown) => failed(error, 'check the kubeconfig, its context, and the way there'));
    return reached;
  };
  const isAway = async (): Promise<boolean> => (await reach()).verdict === 'fail' && installed.trouble?.code === 'CLUSTER_UNAVAILABLE';
  const after = ({ name, look }: Check): Check => ({
    name,
    look: async () => ((await isAway()) ? skipped('the API server does not answer') : look()),
  });
  const checks: readonly Check[] = [
    { name: 'custom resources', look: () => definitions(installed, session) },
    { name: 'rights', look: () => rights(installed, session) },
    { name: 'manager', look: async () => manager(installed) },
    { name: 'settings', look: async () => settings(installed) },
    { name: 'pod security', look: () => podSecurity(installed, session) },
    { name: 'images', look: () => images(installed, session) },
    { name: 'certificate', look: () => certificate(installed, session) },
    { name: 'ingest', look: () => ingest(installed, session) },
    ...controlChecks(installed, session, probe),
    ...objectChecks(session, { isLive: false }),
  ];
  return [{ name: 'kubernetes', look: reach }, ...checks.map(after)];
}
