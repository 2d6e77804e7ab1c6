import type { ProvenIsolation } from '@bifrost/types/core';
import { type CallerOptions, ManagerCore } from './manager-core.ts';
import { proveIsolation } from './prove-calls.ts';

/** The part of {@link NetworkManager} that speaks of all customers at once. */
export abstract class ProvingManager extends ManagerCore {
  /**
   * Reads everything back — stored tailnets and attachments, the workloads' templates and namespaces as they are now, devices and policies at the control
   * planes, what agents say their guards hold — and judges whether anything lets one customer reach another, or a book more than its intent. Answers with
   * the proof and with its inputs, for {@link verifyProof}. What cannot be read is `unproven` and ends nothing. What is found for the first time is an event
   * too (`isolation:violated`), a log line and an audit record; the manager proves by itself every `proofIntervalMs`. Writes nothing outside.
   *
   * @throws {BifrostError} `PERMISSION_DENIED` — the caller's scope is not everybody; `STORE_UNAVAILABLE`
   * @example
   * const { proof } = await manager.proveIsolation();
   * for (const { kind, by, where } of proof.findings) console.log(kind, by, where);
   */
  async proveIsolation(options?: CallerOptions): Promise<ProvenIsolation> {
    return proveIsolation(this.context, this.call(options));
  }
}
