import { eventually } from '../../lab/support/eventually.ts';
import { pause } from '../../support/pause.ts';
import { bringCustomer, type Customer, tailnetRequest } from './books.ts';
import type { Side } from './exchange.ts';
import type { Fault } from './faults.ts';
import { deletePods, touch } from './hand.ts';
import { attachmentPath, glanceAtLedger, tailnetPath } from './ledger.ts';
import { converge, newLife } from './lives.ts';
import { attachUntilConnected, faultFor, playSteps, timed } from './scenario.ts';
import type { World } from './world.ts';

/** One customer with many books, all of them attached. */
export interface Crowd {
  readonly customer: Customer;
  readonly books: readonly string[];
}

export interface Delay {
  readonly attachBeforeMs: number;
  readonly attachMeanwhileMs: number;
  /** Requests of the crowd that hung meanwhile. */
  readonly faultedCalls: number;
  /** From the end of the fault until every pod of the crowd, all of which were replaced meanwhile, is connected and on record. */
  readonly recoveredMs: number;
}

const RECOVERY = { timeoutMs: 60_000, intervalMs: 20 };

const pathOf = ({ id }: Pick<Customer, 'id'>, book: string): string => `/apis/apps/v1/namespaces/${id}/deployments/${book}`;

/** Each with a route of its own, so that each of its rounds has something to ask at the control plane. */
export async function bringCrowd(world: World, size: number): Promise<Crowd> {
  const customer = await bringCustomer(world, 'organization');
  const books = Array.from({ length: size }, (_, index) => `shelf-${index}`);
  await world.call('createTailnet', tailnetRequest(customer));
  for (const [index, book] of books.entries()) {
    const labels = { app: book };
    const spec = { serviceAccountName: 'default', containers: [{ name: 'book', image: 'book' }] };
    await world.admin.must('POST', pathOf(customer, book).replace(/\/[^/]+$/, ''), {
      metadata: { name: book, labels: { 'bifrost.dev/book-deployment-id': `${customer.id}-${book}` } },
      spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
    });
    await world.call('attachSidecar', {
      ...{ tailnetName: customer.tailnetName, bookDeploymentId: `${customer.id}-${book}` },
      config: { hostname: `${customer.id}-${book}`, advertiseRoutes: [`192.168.${100 + index}.0/24`] },
    });
  }
  await eventually('the whole crowd is connected', () => areConnected(world, customer, size), RECOVERY);
  return { customer, books };
}

/** Nothing is answered to the crowd, on one side, and it has work all the time: what another customer's attach takes before and meanwhile. */
export async function crowdOut(world: World, { customer, books }: Crowd, { side, fault }: { side: Side; fault: Fault }): Promise<Delay> {
  const other = await newLife(world, 'organization');
  await playSteps(world, other, ['create']);
  const attachBeforeMs = await timed(() => attachUntilConnected(world, other));
  await converge(world, { ...other, state: 'attached' });
  await playSteps(world, other, ['detach']);
  const begunAt = world.exchanges.length;
  const faulted = () =>
    world.exchanges.slice(begunAt).filter((exchange) => exchange.customer === customer.id && exchange.side === side && exchange.isFaulted).length;
  let attachMeanwhileMs = 0;
  {
    using _lasting = world.treat(faultFor(customer.id, side, { fault }));
    await deletePods(world.admin, customer);
    await hint(world, { customer, books }); // all of them have work by now: as many hang as may
    await eventually('a request of the crowd hangs', () => faulted() > 0, { intervalMs: 10 });
    const over = new AbortController();
    const work = makeWork(world, { customer, books }, over.signal);
    attachMeanwhileMs = await timed(() => attachUntilConnected(world, other));
    over.abort();
    await work;
  }
  const faultedCalls = faulted();
  const recoveredMs = await timed(async () => {
    await eventually('the whole crowd is connected again', () => areConnected(world, customer, books.length), RECOVERY);
  });
  other.state = 'attached';
  await playSteps(world, other, ['delete with cascade']);
  return { attachBeforeMs, attachMeanwhileMs, faultedCalls, recoveredMs };
}

/** All that the crowd has goes with its tailnet. */
export async function dismiss(world: World, { customer }: Crowd): Promise<void> {
  await world.call('deleteTailnet', customer.tailnetName, { cascade: true });
  const isGone = (): boolean => {
    const { tailnet, attachments, bookSecrets, madeTailnets, validKeys, devices } = glanceAtLedger(world, customer);
    return tailnet === undefined && [attachments, bookSecrets, madeTailnets, validKeys, devices].every(({ length }) => length === 0);
  };
  await eventually('nothing is left of the crowd', isGone, RECOVERY);
}

/** Hints for every key of the crowd: those of workloads make rounds, those of attachments are read first. */
async function hint({ admin }: World, { customer, books }: Crowd): Promise<void> {
  const attachments = attachmentPath(customer).replace(/\/[^/]+$/, '');
  const paths = books.flatMap((book) => [pathOf(customer, book), `${attachments}/deployment-${book}`]);
  await touch(admin, [...paths, tailnetPath(customer)]);
}

async function makeWork(world: World, crowd: Crowd, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    await hint(world, crowd);
    await pause(500, undefined, { signal: over }).catch(() => {});
  }
}

/** Each book has one pod with a sidecar, one device, and one instance on record: that pod's. */
function areConnected(world: World, customer: Customer, size: number): boolean {
  const { attachments, pods, devices } = glanceAtLedger(world, customer);
  const carrying = new Set(
    pods.filter(({ metadata }) => metadata.labels?.['bifrost.dev/sidecar-id'] !== undefined).map(({ metadata }) => metadata.uid),
  );
  const recorded = attachments.flatMap(({ status }) => (status?.phase === 'connected' ? (status.instances ?? []) : []));
  const isEach = [attachments, recorded, devices].every(({ length }) => length === size) && carrying.size === size;
  return isEach && recorded.every(({ podUid }: { readonly podUid: string }) => carrying.has(podUid));
}
