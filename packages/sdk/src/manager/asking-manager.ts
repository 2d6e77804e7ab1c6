import type { ExplainInput } from '@bifrost/types';
import type { FirewallReport, PacketExplanation, ProvenIsolation } from '@bifrost/types/core';
import { auditedQuestion } from './audited.ts';
import type { Change } from './etags.ts';
import { explain } from './explain-calls.ts';
import { firewallRequirements } from './firewall-calls.ts';
import { type CallerOptions, ManagerCore } from './manager-core.ts';
import { proveIsolation } from './prove-calls.ts';

/** Questions that are recorded like changes: their answers show what is allowed to whom, or would be. The calls are {@link NetworkManager}'s. */
export abstract class AskingManager extends ManagerCore {
  /**
   * Why a packet of a sidecar's book passes or not: the deciding rule, and its layer (guard, the sidecar's settings, route, the tailnet's policy), by what is
   * in force now, read back. `evidence` is what the agents said last.
   *
   * @throws {BifrostError} `SIDECAR_NOT_FOUND`, `INVALID_ARGUMENT`, and what the control plane answers
   * @example
   * const { verdict, layer, by } = await manager.explain({ sidecarId, to: '10.1.0.10', port: 443 });
   */
  async explain(input: ExplainInput, options?: CallerOptions): Promise<PacketExplanation> {
    return this.asked({ action: 'explainPacket', subject: input?.sidecarId, options }, (call) => explain(this.context, input, call));
  }

  /**
   * What the firewall in front of a customer's routers must let through, line by line, and which of it is blocked now, by what the routers tell the control
   * plane and the agents the manager: nothing is tried from here. `firewallCsv`, `firewallMarkdown` and `firewallJson` write it down.
   *
   * @throws {BifrostError} `TAILNET_NOT_FOUND`; `CONTROL_NOT_FOUND` — the login server publishes no relays; and what the control plane answers
   * @example
   * const { rows } = await manager.firewallRequirements('acme');
   * const blocked = rows.filter(({ status }) => status === 'blocked');
   */
  async firewallRequirements(tailnetName: string, options?: CallerOptions): Promise<FirewallReport> {
    const asked = { action: 'getFirewallRequirements', subject: tailnetName, options };
    return this.asked(asked, (call) => firewallRequirements(this.context, tailnetName, call));
  }

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

  /** For the questions of the class that extends this one: answers, and records who asked what. */
  protected asked<Result>(
    { action, subject, options }: { readonly action: string; readonly subject: unknown; readonly options: CallerOptions | undefined },
    answer: (call: Change) => Promise<Result>,
  ): Promise<Result> {
    const call = this.call(options);
    return auditedQuestion(this.context, { call, action, subject }, () => answer(call));
  }
}
