import type { KubeObject } from './admin.ts';
import { attachmentName, type Customer, templateOf, workloadPath } from './books.ts';
import { BOOK_TAG, SYSTEM, type World } from './world.ts';

const API = '/apis/network.bifrost.dev/v1alpha1';
const FINALIZER = 'network.bifrost.dev/cleanup';
const FRAGMENT = 'bifrost.dev/fragment';

export const tailnetPath = ({ tailnetName }: Pick<Customer, 'tailnetName'>): string => `${API}/tailnets/${tailnetName}`;
export const attachmentPath = (customer: Customer): string => `${API}/namespaces/${customer.id}/sidecarattachments/${attachmentName(customer)}`;

/** All that exists for one customer on both sides at one moment, read back past the manager and by other code than its own. */
export interface Ledger {
  readonly tailnet: KubeObject | undefined;
  readonly attachments: readonly KubeObject[];
  /** Secrets of ours in the book's namespace, and of the tailnet in our own. */
  readonly bookSecrets: readonly KubeObject[];
  readonly tailnetSecrets: readonly KubeObject[];
  readonly template: string;
  readonly pods: readonly KubeObject[];
  /** Tailnets of the organization that were made for it. */
  readonly madeTailnets: readonly string[];
  /** Keys that still open the door. */
  readonly validKeys: readonly string[];
  readonly devices: readonly { readonly deviceId: string; readonly hostname: string; readonly enabledRoutes: readonly string[] }[];
}

/** Read from the API server itself. */
export async function readLedger({ admin, control }: World, customer: Customer): Promise<Ledger> {
  const { id } = customer;
  const [tailnet, attachments, bookSecrets, systemSecrets, workload, pods] = await Promise.all([
    admin.get(tailnetPath(customer)),
    admin.list(`${API}/namespaces/${id}/sidecarattachments`),
    admin.list(`/api/v1/namespaces/${id}/secrets`),
    admin.list(`/api/v1/namespaces/${SYSTEM}/secrets`),
    admin.get(workloadPath(customer)),
    admin.list(`/api/v1/namespaces/${id}/pods`),
  ]);
  return ledgerOf(control, customer, { tailnet, attachments, bookSecrets, systemSecrets, workload, pods });
}

/** The same from what watches told: maybe a moment old. */
export function glanceAtLedger({ mirror, control }: World, customer: Customer): Ledger {
  const { id, tailnetName } = customer;
  return ledgerOf(control, customer, {
    tailnet: mirror.list('tailnets').find(({ metadata }) => metadata.name === tailnetName),
    attachments: mirror.list('attachments', id),
    bookSecrets: mirror.list('secrets', id),
    systemSecrets: mirror.list('secrets', SYSTEM),
    workload: mirror.list('workloads', id).find(({ metadata }) => metadata.name === 'book'),
    pods: mirror.list('pods', id),
  });
}

interface Objects extends Pick<Ledger, 'tailnet' | 'attachments' | 'bookSecrets' | 'pods'> {
  readonly systemSecrets: readonly KubeObject[];
  readonly workload: KubeObject | undefined;
}

function ledgerOf(control: World['control'], customer: Customer, objects: Objects): Ledger {
  const { id, tailnetName, hostname } = customer;
  const { tailnet, attachments, bookSecrets, systemSecrets, workload, pods } = objects;
  const made = control.tailnets().filter(({ inOrganization, displayName }) => inOrganization && displayName.startsWith(tailnetName));
  const own = control.tailnets().filter(({ displayName }) => displayName === id);
  const controlIds = [...made, ...own].map(({ controlId }) => controlId);
  const tailnetIds = idsOf(customer, tailnet);
  return {
    tailnet,
    attachments,
    bookSecrets: bookSecrets.filter(isOurs),
    tailnetSecrets: systemSecrets.filter((secret) => isOurs(secret) && tailnetIds.has(secret.metadata.labels?.['bifrost.dev/tailnet-id'] ?? '')),
    template: workload === undefined ? '' : templateOf(workload),
    pods: pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined),
    madeTailnets: made.map(({ controlId }) => controlId),
    validKeys: controlIds.flatMap((controlId) =>
      control
        .keys(controlId)
        .filter(({ valid }) => valid)
        .map(({ keyId }) => keyId),
    ),
    devices: controlIds
      .flatMap((controlId) => control.devices(controlId))
      .filter((device) => device.tags.includes(BOOK_TAG) || device.hostname === hostname)
      .map(({ deviceId, hostname: name, enabledRoutes }) => ({ deviceId, hostname: name, enabledRoutes })),
  };
}

const isOurs = ({ metadata }: KubeObject): boolean => metadata.labels?.['app.kubernetes.io/managed-by'] === 'bifrost';

/** Ids that the tailnet's object had: its Secret is found by them also when the object is gone. */
const knownIds = new WeakMap<Customer, Set<string>>();

function idsOf(customer: Customer, tailnet: KubeObject | undefined): ReadonlySet<string> {
  const ids = knownIds.get(customer) ?? new Set<string>();
  knownIds.set(customer, ids);
  const id = tailnet?.['spec']?.tailnetId ?? tailnet?.metadata.uid;
  if (typeof id === 'string') ids.add(id);
  return ids;
}

/**
 * What a customer's world looks like between the steps of a life. `annotated`: attached, because the workload asks for it. `running`: a Job of a CronJob
 * that was created with its sidecar has a pod; `ran`: that pod has come to its end. `quarantined`: its pods are as they were, and nobody of them is in the tailnet, or can get in.
 */
export type State = 'none' | 'made' | 'attached' | 'annotated' | 'quarantined' | 'running' | 'ran';

/** How many valid keys an attached sidecar may have: one, and one more for each rotation whose grace is not over. */
export interface Expected {
  readonly state: State;
  readonly keys: number;
}

/** Everything in the ledger that does not belong to that state, in words; empty when it is exact. */
export function judge(ledger: Ledger, customer: Customer, { state, keys }: Expected): readonly string[] {
  const isMade = state !== 'none';
  const isAttached = state === 'attached' || state === 'annotated';
  const isInjected = state === 'running' || state === 'ran';
  const isQuarantined = state === 'quarantined';
  const hasSidecar = isAttached || isInjected || isQuarantined;
  const { tailnet, attachments, validKeys, devices, pods } = ledger;
  const isOrganization = customer.tenancy === 'organization';
  const problems = [
    ...count('tailnet objects', tailnet === undefined ? 0 : 1, isMade ? 1 : 0),
    ...count('tailnets made at the control plane', ledger.madeTailnets.length, isMade && isOrganization ? 1 : 0),
    // The client of a tailnet is told once: when that reply is lost it is reached by the organization's own client, and has no Secret.
    ...(ledger.tailnetSecrets.length > (isMade && isOrganization ? 1 : 0) ? [`${ledger.tailnetSecrets.length} Secrets of its tailnet`] : []),
    ...count('attachments', attachments.length, hasSidecar ? 1 : 0),
    ...count('Secrets beside the book', ledger.bookSecrets.length, hasSidecar ? 1 : 0),
    ...count('valid keys', validKeys.length, hasSidecar ? keys : 0),
    ...count('devices', devices.length, isAttached ? pods.length : state === 'running' ? 1 : 0),
  ];
  if (isMade) problems.push(...judgeTailnet(tailnet));
  if (hasSidecar) problems.push(...judgeSidecar(ledger));
  if (isAttached) problems.push(...judgeAttached(ledger));
  else if (isQuarantined) problems.push(...judgeQuarantined(ledger));
  else problems.push(...judgeTemplate(ledger, customer));
  if (isInjected) problems.push(...judgeInjected(ledger, state));
  else if (!hasSidecar) problems.push(...count('pods that still carry a sidecar', carrying(ledger).length, 0));
  return problems;
}

const count = (what: string, found: number, wanted: number): readonly string[] => (found === wanted ? [] : [`${found} ${what} instead of ${wanted}`]);

function judgeTailnet(tailnet: KubeObject | undefined): readonly string[] {
  if (tailnet === undefined) return [];
  const upgrade = tailnet['status']?.upgrade;
  return [
    ...(upgrade === undefined || upgrade.finished === true ? [] : [`an upgrade is at ${upgrade.done} of ${upgrade.total}`]),
    ...(tailnet['spec'].paused === true ? ['the tailnet is paused'] : []),
    ...(tailnet['status']?.phase === 'active' ? [] : [`tailnet is ${tailnet['status']?.phase}: ${JSON.stringify(tailnet['status']?.reason)}`]),
    ...(tailnet.metadata.finalizers?.includes(FINALIZER) ? [] : ['the tailnet has lost its finalizer']),
  ];
}

const fragmentOf = (holder: KubeObject | undefined): string | undefined => holder?.metadata.annotations?.[FRAGMENT];
const carrying = ({ pods }: Ledger): readonly KubeObject[] =>
  pods.filter(({ metadata }) => metadata.labels?.['bifrost.dev/sidecar-id'] !== undefined);

/** Of every sidecar, whoever put it where it is. */
function judgeSidecar(ledger: Ledger): readonly string[] {
  const { attachments, validKeys } = ledger;
  const [attachment] = attachments;
  const recorded = (attachment?.['status']?.keys ?? []).map((key: { readonly keyId: string }) => key.keyId);
  const { fragment, trial, reverted } = attachment?.['spec'] ?? {};
  const wanted = fragment?.annotations?.[FRAGMENT];
  return [
    ...(attachment?.metadata.finalizers?.includes(FINALIZER) ? [] : ['the attachment has lost its finalizer']),
    ...(validKeys.every((keyId) => recorded.includes(keyId)) ? [] : [`keys ${validKeys.join()} are valid, ${recorded.join()} recorded`]),
    ...(carrying(ledger).every((pod) => fragmentOf(pod) === wanted) ? [] : ['a pod runs another fragment than is wanted']),
    ...(trial === undefined && reverted === undefined ? [] : [`a change is ${trial === undefined ? 'taken back' : 'on trial'}`]),
  ];
}

function judgeAttached(ledger: Ledger): readonly string[] {
  const { attachments, template, pods, devices } = ledger;
  const { phase, reason, instances } = attachments[0]?.['status'] ?? {};
  const bare = pods.length - carrying(ledger).length;
  return [
    ...(phase === 'connected' ? [] : [`sidecar is ${phase}: ${JSON.stringify(reason)}`]),
    ...(template.includes('bifrost-agent') ? [] : ['the template carries no sidecar']),
    ...(bare === 0 && pods.length > 0 ? [] : [`${bare} of ${pods.length} pods are without a sidecar`]),
    ...(devices.every(({ enabledRoutes }) => enabledRoutes.length === 1) ? [] : ['a route is not approved']),
    ...(instances?.length === pods.length ? [] : [`${instances?.length} instances on record for ${pods.length} pods`]),
  ];
}

/** Nothing of the pod is gone, or new: it is kept to be looked at. */
function judgeQuarantined(ledger: Ledger): readonly string[] {
  const { attachments, template, pods, bookSecrets } = ledger;
  const { reason, quarantinedSinceMs } = attachments[0]?.['status'] ?? {};
  return [
    ...(reason?.code === 'SIDECAR_QUARANTINED' && quarantinedSinceMs !== undefined ? [] : [`it is not told as done: ${JSON.stringify(reason)}`]),
    ...(template.includes('bifrost-agent') ? [] : ['the template carries no sidecar']),
    ...(pods.length > 0 && carrying(ledger).length === pods.length ? [] : ['its pods are not there any more, with their sidecar']),
    ...(bookSecrets.every((secret) => secret['data']?.authkey === undefined) ? [] : ['its Secret has a key']),
  ];
}

/** One pod of one Job; the book itself has no part in it. */
function judgeInjected(ledger: Ledger, state: State): readonly string[] {
  const { phase, reason, instances } = ledger.attachments[0]?.['status'] ?? {};
  const isRunning = state === 'running';
  const phases = carrying(ledger).map((pod) => pod['status'].phase);
  return [
    ...(phase === (isRunning ? 'connected' : 'attaching') && reason === undefined ? [] : [`sidecar is ${phase}: ${JSON.stringify(reason)}`]),
    ...(phases.join() === (isRunning ? 'Running' : 'Succeeded') ? [] : [`pods of Jobs are ${phases.join()}`]),
    ...count('instances on record', instances?.length ?? 0, isRunning ? 1 : 0),
  ];
}

const judgeTemplate = ({ template }: Ledger, customer: Customer): readonly string[] =>
  template === customer.template ? [] : [`the template is not as it was: ${template}`];
