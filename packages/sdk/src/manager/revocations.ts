import type { RevokedAccess, StoredSidecar, StoredTailnet, TailnetState } from '../domain/model.ts';
import { accessChange } from '../domain/policy/access-change.ts';
import { lossFor } from '../domain/revocation.ts';
import type { TailnetControl } from '../ports/index.ts';
import { type Call, type Context, keepSidecar } from './context.ts';
import { sameJson } from './same-json.ts';
import { belongsTo } from './sidecar-devices.ts';
import { isRolloutAhead } from './tailnet-upgrade.ts';

/**
 * What the policy of a tailnet is in force for now, and when it last took something away: told once it has been written, so that who joins anew after that
 * joins under it. Nothing for a policy that others keep: it says what it says, whatever is wanted here.
 */
export function enforcedNow({ spec, state }: StoredTailnet, nowMs: number): Pick<TailnetState, 'enforced' | 'revoked'> {
  if (state.policyWritten !== true || state.policyReason !== undefined) return {};
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

const AHEAD_MS = 5_000;

interface Attached {
  readonly sidecar: StoredSidecar;
  readonly tailnet: StoredTailnet;
  readonly control: TailnetControl;
}

/**
 * A connection that stands passes a narrower policy: only its first packet is asked about. Where no guard cuts it, the device that it belongs to is deleted,
 * and the pod joins anew with another address. Once for each loss: what joined later has never had what was lost. Where pods are about to be replaced, that does it.
 */
export async function cutRevoked(
  context: Context,
  { sidecar, tailnet, control }: Attached,
  { signal }: Call,
): Promise<{ readonly sidecar: StoredSidecar; readonly recheckMs?: number }> {
  const lostAtMs = lossFor(sidecar.spec, tailnet.state.revoked);
  if (lostAtMs === undefined || sidecar.state.cutForMs === lostAtMs || sidecar.createdAtMs > lostAtMs) return { sidecar };
  if (isRolloutAhead(tailnet, sidecar)) return { sidecar, recheckMs: AHEAD_MS };
  for (const device of await control.listDevices({ signal })) {
    if (!belongsTo(context, { sidecar, tailnet }, device) || device.createdAtMs >= lostAtMs) continue;
    context.logger.log('info', 'a device is deleted, since its tailnet grants less than when it joined', {
      sidecarId: sidecar.spec.sidecarId,
      deviceId: device.deviceId,
    });
    await control.deleteDevice(device.deviceId, { signal });
  }
  return { sidecar: await keepSidecar(context, sidecar, { state: { ...sidecar.state, cutForMs: lostAtMs }, signal }) };
}
