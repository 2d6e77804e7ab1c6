import type { RevokedAccess, StoredSidecar, StoredTailnet, TailnetState } from '../domain/model.ts';
import { accessChange } from '../domain/policy/access-change.ts';
import { lossFor, orderedLossFor } from '../domain/revocation.ts';
import type { Device, TailnetControl } from '../ports/index.ts';
import { type Call, type Context, keepSidecar } from './context.ts';
import { guardStateOf } from './guard-orders.ts';
import { managesPolicy } from './identities.ts';
import type { Instance } from './instances.ts';
import { sameJson } from './same-json.ts';
import { belongsTo } from './sidecar-devices.ts';
import { isRolloutAhead } from './tailnet-upgrade.ts';

/**
 * What the policy of a tailnet is in force for now, and when it last took something away: told once it has been written, so that who joins anew after that
 * joins under it. Nothing for a policy that others keep: it says what it says, whatever is wanted here.
 */
export function enforcedNow({ spec, state }: StoredTailnet, nowMs: number): Pick<TailnetState, 'enforced' | 'revoked'> {
  if (!isWritten(state)) return {};
  const { allowedNetworks, blockedNetworks, accessPolicy } = spec.config;
  const enforced = { allowedNetworks, blockedNetworks, accessPolicy };
  const before = state.enforced;
  if (before === undefined || sameJson(before, enforced)) return { enforced };
  const { lost, devices } = accessChange({ ...before, enableLogging: false }, spec.config);
  const revoked: RevokedAccess = {
    ...state.revoked,
    ...(lost.length === 0 ? {} : { networksAtMs: nowMs }),
    ...(devices === 'lost' ? { devicesAtMs: nowMs } : {}),
  };
  return { enforced, ...(Object.keys(revoked).length === 0 ? {} : { revoked }) };
}

const isWritten = ({ policyWritten, policyReason }: TailnetState): boolean => policyWritten === true && policyReason === undefined;

const AHEAD_MS = 5_000;
/** Beyond the silence that is allowed, after which an agent has asked for its order: a guard tries one that the kernel had no room for again after 30 s. */
const OBEYS_MS = 30_000;

interface Attached {
  readonly sidecar: StoredSidecar;
  readonly tailnet: StoredTailnet;
  readonly control: TailnetControl;
}

interface Cut {
  readonly sidecar: StoredSidecar;
  readonly recheckMs?: number;
}

/**
 * A connection that stands passes a narrower policy: only its first packet is asked about. Where no guard cuts it, the device that it belongs to is deleted,
 * and the pod joins anew with another address. Once for each loss: what joined later has never had what was lost. Where pods are about to be replaced, that does it.
 */
export async function cutRevoked(context: Context, attached: Attached, call: Call): Promise<Cut> {
  const { sidecar, tailnet } = attached;
  const { spec, state, createdAtMs } = sidecar;
  const open = (atMs: number | undefined, doneForMs: number | undefined): number | undefined =>
    atMs === doneForMs || createdAtMs > (atMs ?? 0) ? undefined : atMs;
  const lostAtMs = open(lossFor(spec, tailnet.state.revoked), state.cutForMs);
  const orderedAtMs = open(orderedLossFor(spec, tailnet.state.revoked), state.obeyedForMs);
  if (lostAtMs === undefined && orderedAtMs === undefined) return { sidecar };
  if (isRolloutAhead(tailnet, sidecar)) return { sidecar, recheckMs: AHEAD_MS };
  const cut = lostAtMs === undefined ? sidecar : await cutUnguarded(context, attached, { ...call, lostAtMs });
  if (orderedAtMs === undefined) return { sidecar: cut };
  return cutDisobedient(context, { ...attached, sidecar: cut }, { ...call, lostAtMs: orderedAtMs });
}

type Loss = Call & { readonly lostAtMs: number };

async function cutUnguarded(context: Context, attached: Attached, { lostAtMs, signal }: Loss): Promise<StoredSidecar> {
  const { sidecar } = attached;
  const why = 'a device is deleted, since its tailnet grants less than when it joined';
  await deleteDevices(context, attached, { lostAtMs, signal, isCut: () => true, why });
  return keepSidecar(context, sidecar, { state: { ...sidecar.state, cutForMs: lostAtMs }, signal });
}

/**
 * A guard that does not take the narrower order, or whose agent is silent, would keep open for ever what stands: its device goes as if it had none, under a
 * policy that is ours, which keeps the next one out. That all have taken it, or what became of those that have not, is kept: who falls behind later has lost nothing by that.
 */
async function cutDisobedient(context: Context, attached: Attached, { lostAtMs, signal }: Loss): Promise<Cut> {
  const { sidecar, tailnet } = attached;
  const wanted = context.guardOrders.wantedFor(sidecar.spec);
  if (!managesPolicy(tailnet.spec) || !isWritten(tailnet.state) || wanted === undefined) return { sidecar };
  // Also what is kept instead of an order that is withheld.
  const hasObeyed = (instance: Instance): boolean =>
    instance.guardHolds === wanted.order.hash ||
    guardStateOf(context, sidecar, instance) === 'current' ||
    (instance.guardCurrentAtMs ?? Number.NEGATIVE_INFINITY) > lostAtMs;
  const { obeyed = [], behind = [] } = Object.groupBy(context.instances.of(sidecar.key), (each) => (hasObeyed(each) ? 'obeyed' : 'behind'));
  if (behind.length > 0) {
    const { hearing, settings, clock } = context;
    // Time without a manager, or paused, is nobody's disobedience.
    const sinceMs = Math.max(lostAtMs, hearing.sinceMs, hearing.pausedAtMs.get(tailnet.key) ?? lostAtMs);
    const leftMs = sinceMs + settings.silenceMs + OBEYS_MS - clock.nowMs();
    if (leftMs > 0) return { sidecar, recheckMs: leftMs };
    // Of a loss before its time a manager that has heard nobody yet cannot tell who is silent: its own door may be shut.
    const isOlder = lostAtMs < hearing.sinceMs && behind.some(({ reported }) => !reported);
    if (isOlder && !hasHeardAny(context)) return { sidecar, recheckMs: OBEYS_MS };
    const why = 'a device is deleted, since its guard has not taken what its tailnet took away';
    await deleteDevices(context, attached, { lostAtMs, signal, isCut: isNotOf({ obeyed, behind }), why });
  }
  return { sidecar: await keepSidecar(context, sidecar, { state: { ...sidecar.state, obeyedForMs: lostAtMs }, signal }) };
}

function hasHeardAny({ instances }: Context): boolean {
  for (const { reported } of instances.all()) if (reported) return true;
  return false;
}

/** All devices but those of instances that have obeyed: one that is silent may have joined anew since it told. Where one of these has yet to tell its own, nothing is guessed. */
function isNotOf({ obeyed, behind }: Readonly<Record<'obeyed' | 'behind', readonly Instance[]>>): (device: Device) => boolean {
  const isOf = (instances: readonly Instance[], wanted: string | undefined): boolean => instances.some(({ deviceId }) => deviceId === wanted);
  // Whose a device is, agents say: one that is behind does not speak for another.
  return ({ deviceId }) => !isOf(obeyed, deviceId) && (isOf(behind, deviceId) || !isOf(obeyed, undefined));
}

interface Deletion extends Loss {
  readonly isCut: (device: Device) => boolean;
  /** For the log. */
  readonly why: string;
}

async function deleteDevices(context: Context, { sidecar, tailnet, control }: Attached, { lostAtMs, isCut, why, signal }: Deletion): Promise<void> {
  for (const device of await control.listDevices({ signal })) {
    if (!belongsTo(context, { sidecar, tailnet }, device) || device.createdAtMs >= lostAtMs || !isCut(device)) continue;
    context.logger.log('info', why, { sidecarId: sidecar.spec.sidecarId, deviceId: device.deviceId });
    await control.deleteDevice(device.deviceId, { signal });
  }
}
