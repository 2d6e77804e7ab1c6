import { MERGE } from './admin.ts';
import { attachRequest, type Customer, type Tenancy, tailnetRequest, workloadPath } from './books.ts';
import { deleteCronJob, endJob, runCronJob } from './cronjob.ts';
import { deletePods, touch } from './hand.ts';
import { attachmentPath, type State, tailnetPath } from './ledger.ts';
import { Refused } from './manager-process.ts';
import type { World } from './world.ts';

/** One customer's way through all states. */
export interface Life {
  readonly customer: Customer;
  state: State;
  sidecarId: string;
  /** Valid keys while attached. */
  keys: number;
  /** How often its configuration was changed. */
  changes: number;
}

/** One thing that a caller, or the world, does to a customer. What must be true afterwards is said by `to`: see `judge`. */
export interface Step {
  readonly name: string;
  readonly from: State;
  readonly to: State;
  /** Where whose tailnet it is makes no difference, one is enough: each call is a life more for every moment at which it can break off. */
  readonly only?: Tenancy;
  /** Repeated as a whole by nobody: calls in it are made by `world.call`, which survives the manager. */
  readonly act: (world: World, life: Life) => Promise<void>;
}

/** Every step of a life. A new call joins here with one line; the campaign finds its way to it by `from` and `to`. */
const STEPS: readonly Step[] = [
  { name: 'create', from: 'none', to: 'made', act: (world, { customer }) => settle(world.call('createTailnet', tailnetRequest(customer))) },
  { name: 'apply', from: 'none', to: 'made', act: applyByHand },
  { name: 'attach', from: 'made', to: 'attached', act: attach },
  { name: 'update the sidecar', from: 'attached', to: 'attached', only: 'customer-owned', act: updateSidecar },
  { name: 'update the tailnet', from: 'attached', to: 'attached', only: 'organization', act: updateTailnet },
  { name: 'pause and resume', from: 'attached', to: 'attached', only: 'customer-owned', act: pauseAndResume },
  { name: 'lose the key', from: 'attached', to: 'attached', only: 'organization', act: loseKey },
  { name: 'lose a pod and the finalizer', from: 'attached', to: 'attached', only: 'customer-owned', act: losePodAndFinalizer },
  { name: 'look for leftovers', from: 'attached', to: 'attached', only: 'organization', act: lookForLeftovers },
  { name: 'ask for the firewall', from: 'attached', to: 'attached', only: 'customer-owned', act: askForFirewall },
  { name: 'quarantine', from: 'attached', to: 'quarantined', only: 'customer-owned', act: quarantine },
  { name: 'readmit', from: 'quarantined', to: 'attached', only: 'customer-owned', act: readmit },
  { name: 'detach from quarantine', from: 'quarantined', to: 'made', only: 'customer-owned', act: detach },
  { name: 'detach', from: 'attached', to: 'made', act: detach },
  { name: 'detach what has no device any more', from: 'attached', to: 'made', only: 'organization', act: detachWithoutDevice },
  { name: 'annotate', from: 'made', to: 'annotated', only: 'organization', act: annotate },
  { name: 'take the annotation away', from: 'annotated', to: 'made', only: 'organization', act: withdraw },
  { name: 'run a CronJob', from: 'made', to: 'running', only: 'organization', act: runCronJob },
  { name: 'end its Job', from: 'running', to: 'ran', only: 'organization', act: endJob },
  { name: 'delete the CronJob', from: 'ran', to: 'made', only: 'organization', act: deleteCronJob },
  {
    name: 'delete',
    from: 'made',
    to: 'none',
    act: (world, { customer }) => gone(world.call('deleteTailnet', customer.tailnetName), 'TAILNET_NOT_FOUND'),
  },
  { name: 'delete with cascade', from: 'attached', to: 'none', only: 'organization', act: deleteWithCascade },
];

/** @throws {RangeError} no step is called so */
export function stepNamed(name: string): Step {
  const step = STEPS.find((each) => each.name === name);
  if (step === undefined) throw new RangeError(`no step "${name}"`);
  return step;
}

/** The steps of a life of that tenancy. */
export const stepsOf = (tenancy: Tenancy): readonly Step[] => STEPS.filter(({ only }) => only === undefined || only === tenancy);

const settle = async (call: Promise<unknown>): Promise<void> => void (await call);

/** A call whose first try went through, although its answer was lost, finds nothing the second time. */
async function gone(call: Promise<unknown>, code: string): Promise<void> {
  await call.catch((error: unknown) => {
    if (!(error instanceof Refused) || error.code !== code) throw error;
  });
}

/** What `kubectl apply` does: an object that the manager did not make, without its finalizer. */
async function applyByHand({ admin, attribution }: World, { customer }: Life): Promise<void> {
  const { id, tenancy, tailnetName } = customer;
  const { config } = tailnetRequest(customer);
  const credential = tenancy === 'organization' ? {} : { credentialSecretName: `bifrost-customer-${id}` };
  const spec = { customerId: id, tenancy, config, ...credential };
  const body = { apiVersion: 'network.bifrost.dev/v1alpha1', kind: 'Tailnet', metadata: { name: tailnetName }, spec };
  const { metadata } = await admin.must('POST', tailnetPath(customer).replace(/\/[^/]+$/, ''), body);
  attribution.add(id, metadata.uid); // which is its tailnet's id
}

async function attach(world: World, life: Life): Promise<void> {
  const { sidecarId } = (await world.call('attachSidecar', attachRequest(life.customer))) as { readonly sidecarId: string };
  life.sidecarId = sidecarId;
  life.keys = 1;
}

/** Another fragment, with a guard and then again without: its pods are replaced, and it has to prove itself. */
async function updateSidecar(world: World, life: Life): Promise<void> {
  life.changes += 1;
  const config = { networkMode: life.changes % 2 === 1 ? 'kernel' : 'userspace' };
  await world.call('updateSidecar', { sidecarId: life.sidecarId, config, allowRollout: true });
}

/** Another configuration of the network: its sidecars follow in waves. */
async function updateTailnet(world: World, life: Life): Promise<void> {
  life.changes += 1;
  const config = { blockedNetworks: [`198.51.100.${life.changes % 256}/32`] };
  await world.call('updateTailnet', { tailnetName: life.customer.tailnetName, config, allowRollout: true });
}

/** A question that asks the control plane what nothing else of a life does. */
async function askForFirewall(world: World, { customer }: Life): Promise<void> {
  await world.call('firewallRequirements', customer.tailnetName);
}

async function detach(world: World, { sidecarId }: Life): Promise<void> {
  await gone(world.call('detachSidecar', sidecarId), 'SIDECAR_NOT_FOUND');
}

/** Somebody has deleted its device by hand: it is on record, and not there. */
async function detachWithoutDevice(world: World, life: Life): Promise<void> {
  for (const { deviceId, hostname } of world.control.devices()) if (hostname === life.customer.hostname) world.control.leave(deviceId);
  await detach(world, life);
}

async function quarantine(world: World, life: Life): Promise<void> {
  await world.call('quarantineSidecar', { sidecarId: life.sidecarId, reason: 'looked odd' });
  life.keys = 0;
}

/** Its pod is the same one, and joins with a new key. */
async function readmit(world: World, life: Life): Promise<void> {
  await world.call('readmitSidecar', life.sidecarId);
  life.keys = 1;
}

async function pauseAndResume(world: World, { customer }: Life): Promise<void> {
  await world.call('pauseTailnet', customer.tailnetName);
  await world.call('resumeTailnet', customer.tailnetName);
}

/** Metadata of the workload only: its template is still the customer's own. */
async function annotate({ admin }: World, life: Life): Promise<void> {
  const { customer } = life;
  const { hostname, advertiseRoutes } = attachRequest(customer).config;
  const annotations = {
    ...{ 'bifrost.dev/tailnet': customer.tailnetName, 'bifrost.dev/hostname': hostname },
    'bifrost.dev/advertise-routes': advertiseRoutes.join(','),
  };
  life.keys = 1;
  await admin.must('PATCH', workloadPath(customer), { metadata: { annotations } }, MERGE);
}

async function withdraw({ admin }: World, { customer }: Life): Promise<void> {
  await admin.must('PATCH', workloadPath(customer), { metadata: { annotations: { 'bifrost.dev/tailnet': null } } }, MERGE);
}

/** Somebody empties the Secret: a new key is made, and the old one stays for its grace. */
async function loseKey({ admin }: World, life: Life): Promise<void> {
  const { id } = life.customer;
  life.keys += 1;
  await admin.must('PATCH', `/api/v1/namespaces/${id}/secrets/bifrost-${life.sidecarId}`, { data: null }, MERGE);
  await touch(admin, [attachmentPath(life.customer)]); // Secrets are not watched
}

/** The finalizer comes back with the next state that is written; a new pod is one. */
async function losePodAndFinalizer({ admin }: World, life: Life): Promise<void> {
  await admin.must('PATCH', attachmentPath(life.customer), { metadata: { finalizers: null } }, MERGE);
  await deletePods(admin, life.customer);
}

/** The manager's own account. Other customers are in the middle of their steps. */
async function lookForLeftovers(world: World, { customer }: Life): Promise<void> {
  const leftovers = (await world.call('listLeftovers')) as readonly { readonly place: string }[];
  const own = leftovers.filter(({ place }) => place.includes(customer.id));
  if (own.length > 0) throw new Error(`leftovers: ${JSON.stringify(own)}`);
}

async function deleteWithCascade(world: World, { customer }: Life): Promise<void> {
  await gone(world.call('deleteTailnet', customer.tailnetName, { cascade: true }), 'TAILNET_NOT_FOUND');
}
