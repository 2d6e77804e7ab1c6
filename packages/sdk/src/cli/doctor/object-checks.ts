import { NetworkManager, type Sidecar, Sidecar_Status, type Tailnet, Tailnet_Status } from '@bifrost/types/proto';
import { Code, ConnectError } from '@connectrpc/connect';
import { allSidecars, allTailnets } from '../lists.ts';
import { countText, durationText } from '../quantities.ts';
import type { Session } from '../session.ts';
import { sidecarStatus, tailnetStatus, workloadText } from '../views.ts';
import { timeMs } from '../wire.ts';
import { type Check, fail, ok, type Seen, skipped, warn } from './check.ts';

const SHOWN = 5;
const STALE_REPORT_MS = 120_000;

/** The first few of many. */
export const few = (items: readonly string[]): string =>
  items.slice(0, SHOWN).join('; ') + (items.length > SHOWN ? `; and ${items.length - SHOWN} more` : '');

async function tailnets(session: Session): Promise<Seen> {
  const all = await allTailnets(session);
  const describe = ({ tailnetName, reason, ...rest }: Tailnet): string =>
    `${tailnetName} is ${tailnetStatus(rest)}${reason === undefined ? '' : ` (${reason.code}: ${reason.message})`}`;
  const failing = all.filter(({ status }) => status === Tailnet_Status.failed);
  const weak = all.filter(({ status, paused }) => status === Tailnet_Status.degraded || paused);
  if (failing.length > 0) return fail(few(failing.map(describe)), 'the runbook of each code says what to do: docs/runbooks');
  if (weak.length > 0)
    return warn(
      few(weak.map((one) => `${describe(one)}${one.paused ? ', paused' : ''}`)),
      'see `bifrost status TAILNET`; end a pause with `bifrost tailnet resume`',
    );
  return ok(`${countText(all.length, 'tailnet')}, none in trouble`);
}

async function sidecars(session: Session): Promise<Seen> {
  const all = await allSidecars(session);
  const describe = (one: Sidecar): string =>
    `${workloadText(one)} is ${sidecarStatus(one)}${one.reason === undefined ? '' : ` (${one.reason.code})`}`;
  const failing = all.filter(({ status }) => status === Sidecar_Status.failed || status === Sidecar_Status.disconnected);
  const weak = all.filter(({ status, reason }) => status === Sidecar_Status.degraded || status === Sidecar_Status.unknown || reason !== undefined);
  if (failing.length > 0) return fail(few(failing.map(describe)), 'see `bifrost sidecar get NAMESPACE/NAME`');
  if (weak.length > 0) return warn(few(weak.map(describe)), 'see `bifrost sidecar get NAMESPACE/NAME`');
  return ok(`${countText(all.length, 'sidecar')}, none in trouble`);
}

/** Whether reports arrive, seen from the other end: there is no better proof that agents reach ingest. */
async function reports(session: Session): Promise<Seen> {
  const instances = (await allSidecars(session)).flatMap(({ instances: pods }) => pods);
  const times = instances.map(({ lastReportAt }) => timeMs(lastReportAt)).filter((time) => time !== undefined);
  if (instances.length === 0) return skipped('no pod has a sidecar yet');
  const todo = 'look at the agents’ logs, the manager’s Service and its certificate; docs/runbooks/REPORT_UNAUTHENTICATED.md';
  if (times.length === 0) return warn(`none of ${countText(instances.length, 'pod')} has reported to this manager`, todo);
  const ageMs = session.cli.clock.nowMs() - Math.max(...times);
  return ageMs > STALE_REPORT_MS
    ? warn(`the last report came ${durationText(ageMs)} ago`, todo)
    : ok(`${times.length} of ${countText(instances.length, 'pod')} report; the last ${durationText(ageMs)} ago`);
}

async function leftovers(session: Session): Promise<Seen> {
  try {
    const { leftovers: found } = await session.call(NetworkManager.method.listLeftovers, {});
    if (found.length === 0) return ok('nothing is left over');
    return warn(few(found.map(({ kind, id, place }) => `${kind} ${id} in ${place}`)), 'see `bifrost leftovers`, and delete what nobody needs');
  } catch (error) {
    if (error instanceof ConnectError && error.code === Code.PermissionDenied) return skipped('only administrators may ask');
    throw error;
  }
}

/** What the objects themselves tell, with a service and without. */
export const objectChecks = (session: Session, { isLive }: { readonly isLive: boolean }): readonly Check[] => [
  { name: 'tailnets', look: () => tailnets(session) },
  { name: 'sidecars', look: () => sidecars(session) },
  ...(isLive ? [{ name: 'reports', look: () => reports(session) }] : []),
  { name: 'leftovers', look: () => leftovers(session) },
];
