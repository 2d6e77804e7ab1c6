import { BifrostError } from '@bifrost/types/core';
import type { StoredSidecar } from '../domain/model.ts';

/** @throws {BifrostError} `SIDECAR_QUARANTINED` — what would give it new pods, or its pods another sidecar, would take the evidence away */
export function requireAdmitted({ spec }: Pick<StoredSidecar, 'spec'>): void {
  if (spec.quarantine === undefined) return;
  throw new BifrostError({
    code: 'SIDECAR_QUARANTINED',
    message: 'The sidecar is in quarantine, and its pods stay as they are: call readmitSidecar first, or detach it.',
    details: { sidecarId: spec.sidecarId },
    issues: [{ path: 'sidecarId', message: 'is in quarantine' }],
  });
}
