import type { QuarantineSidecarInput } from '@bifrost/types';
import type { Sidecar } from '@bifrost/types/core';
import { AskingManager } from './asking-manager.ts';
import type { ChangeOptions } from './manager-core.ts';
import { quarantineSidecar, readmitSidecar } from './quarantine-calls.ts';

/** Calls that stop what passes, whatever is configured. */
export abstract class CuttingManager extends AskingManager {
  /**
   * Cuts a sidecar off from its tailnet at once: its keys are revoked, its devices deleted, established connections with them, and its guards let nothing
   * out but what the cluster itself needs. Its pods stay as they are, for evidence; those that start anew do not join, and neither a pause of the tailnet
   * nor a restart of the manager ends it. The loop does it: `sidecar:quarantined` tells when no key and no device is left. The same call again is a no-op.
   *
   * Upgrades pass it by, `updateSidecar` and `repairSidecar` are refused, `detachSidecar` takes it away as ever, and its pods' evidence with it.
   *
   * @throws {BifrostError} `INVALID_ARGUMENT`, `SIDECAR_NOT_FOUND`, `MANAGER_READ_ONLY`: nothing was written
   * @example
   * await manager.quarantineSidecar({ sidecarId, reason: 'speaks to a host that it never spoke to' });
   */
  async quarantineSidecar(input: QuarantineSidecarInput, options?: ChangeOptions): Promise<Sidecar> {
    return quarantineSidecar(this.context, input, this.call(options));
  }

  /**
   * Ends a quarantine: there is a key again, and pods join with it as new devices with new addresses: new ones at once, those that are there when their
   * tailscale container starts again. Of a paused tailnet when it is resumed.
   *
   * @throws {BifrostError} `SIDECAR_NOT_FOUND`, `MANAGER_READ_ONLY`: nothing was written
   */
  async readmitSidecar(sidecarId: string, options?: ChangeOptions): Promise<Sidecar> {
    return readmitSidecar(this.context, sidecarId, this.call(options));
  }
}
