import type { Reason, SidecarSpec, SidecarState, Trial } from './model.ts';

/** Whether the quarantine that is wanted has been carried out. */
export const isCutOff = ({ spec, state }: { readonly spec: SidecarSpec; readonly state: SidecarState }): boolean =>
  spec.quarantine !== undefined && state.quarantinedSinceMs === spec.quarantine.sinceMs;

export const QUARANTINED: Reason = {
  code: 'SIDECAR_QUARANTINED',
  message: 'It is in quarantine: it has no key and no device, and its pods stay as they are. readmitSidecar lets it in again.',
};

/** A trial that was under way when the quarantine began gets its whole time again: time without a network is nobody's failure. */
export function trialAnew({ sinceMs, deadlineMs, wasHealthy }: Trial, nowMs: number): Trial {
  return { sinceMs: nowMs, deadlineMs: nowMs + deadlineMs - sinceMs, wasHealthy };
}
