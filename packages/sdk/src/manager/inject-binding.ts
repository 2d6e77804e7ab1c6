import type { StoredSidecar } from '../domain/model.ts';
import { LABELS } from '../domain/names.ts';
import type { Workload } from '../ports/index.ts';
import { type Call, type Context, respecSidecar } from './context.ts';

/** How long its workload may still be awaited. */
export const registrationLeftMs = ({ settings, clock }: Context, { spec, createdAtMs }: StoredSidecar): number =>
  (spec.registeredAtMs ?? createdAtMs) + settings.registrationMs - clock.nowMs();

/**
 * Binds a registration to the workload that was created with its sidecar in it: by kind, namespace and name once, by uid from then on. One that does
 * not carry this very sidecar is somebody else's and is left alone.
 */
export async function bindInjected(
  context: Context,
  { sidecar, workload }: { readonly sidecar: StoredSidecar; readonly workload: Workload | undefined },
  call: Call,
): Promise<'bound' | 'expired' | { readonly recheckMs: number }> {
  const { spec } = sidecar;
  if (workload !== undefined && workload.template.metadata?.labels?.[LABELS.sidecarId] === spec.sidecarId) {
    await respecSidecar(context, sidecar, { spec: { ...spec, workload: workload.reference }, ...call });
    return 'bound';
  }
  const leftMs = registrationLeftMs(context, sidecar);
  return leftMs > 0 ? { recheckMs: leftMs } : 'expired';
}

/** Told once it is certain: until it is released it may still be renewed. */
export function tellExpired(context: Context, { spec }: StoredSidecar): void {
  const { sidecarId, tailnetName, customerId, bookDeploymentId } = spec;
  const expired = { sidecarId, tailnetName, customerId, bookDeploymentId, code: 'REGISTRATION_EXPIRED', atMs: context.clock.nowMs() };
  context.events.emit('sidecar:failed', expired);
  context.logger.log('warn', 'a registration expired: its workload was never created', { sidecarId, tailnetName });
}
