import {
  type IsolationProof,
  PROOF_LAYERS,
  type ProofFinding,
  type ProofInput,
  type ProofLayer,
  type ProofLayerState,
  type ProofReservation,
} from '@bifrost/types/core';
import type { Digest } from './identity-tags.ts';
import { Evidence, type EvidenceKind, PODS, SHARED, type SidecarEvidence, type TailnetEvidence, UNLIKE } from './proof-evidence.ts';
import { type GuardQuestion, proveGuard } from './prove-guard.ts';
import { deviceIdentity, runningIdentity, sidecarIdentity, tailnetIdentity } from './prove-identity.ts';
import { proveNetworkPolicies } from './prove-network-policies.ts';
import { provePolicy } from './prove-policy.ts';
import { type ControlGroup, Survey } from './survey.ts';

/** What came of judging what was read back: of a proof all that is neither about its reading nor about its inputs. */
export type Judgement = Omit<IsolationProof, 'v' | 'readAt' | 'installation' | 'verdict' | 'inputs' | 'sha256'>;

/** As many as are told of each: one is enough to look. */
export const MAX_TOLD = 1_000;

/** Collects what is found; counts what is not told any more. */
class Sheet {
  readonly findings: ProofFinding[] = [];
  readonly reservations: ProofReservation[] = [];
  readonly #counts = new Map<ProofLayer, { judged: number; findings: number; cooperative: boolean; unproven: boolean }>();

  #of(layer: ProofLayer) {
    const known = this.#counts.get(layer) ?? { judged: 0, findings: 0, cooperative: false, unproven: false };
    this.#counts.set(layer, known);
    return known;
  }

  judged(layer: ProofLayer): void {
    this.#of(layer).judged += 1;
  }

  find(layer: ProofLayer, found: Iterable<Omit<ProofFinding, 'layer'>>): void {
    for (const { kind, tailnetName, customerId, otherCustomerId, by, where } of found) {
      this.#of(layer).findings += 1;
      const other = otherCustomerId === undefined ? {} : { otherCustomerId };
      if (this.findings.length < MAX_TOLD) this.findings.push({ layer, kind, tailnetName, customerId, ...other, by, where });
    }
  }

  reserve(reservation: ProofReservation): void {
    this.#of(reservation.layer)[reservation.assurance] = true;
    if (this.reservations.length < MAX_TOLD) this.reservations.push(reservation);
  }

  layers(): readonly ProofLayerState[] {
    return PROOF_LAYERS.map((layer) => {
      const { judged, findings, cooperative, unproven } = this.#of(layer);
      const assurance = unproven ? 'unproven' : cooperative ? 'cooperative' : judged === 0 ? 'absent' : 'enforced';
      return { layer, assurance, judged, findings };
    });
  }
}

/** Notes where a layer rests on what was not read. True: it was. */
function isRead(
  sheet: Sheet,
  evidence: Evidence,
  { layer, kind, key }: { readonly layer: ProofLayer; readonly kind: EvidenceKind; readonly key: string },
): boolean {
  const code = evidence.unread(kind, key);
  if (code === undefined) return true;
  sheet.reserve({ layer, assurance: 'unproven', reason: 'not-read', subject: `${kind} ${key}`, code });
  return false;
}

/**
 * Judges what was read back, and nothing else: whoever has the inputs comes to the same. Pure; the order of the inputs does not matter. Yields between
 * parts, so that whoever has more to do can do that.
 */
export function* judging(inputs: readonly ProofInput[], digest: Digest): Generator<void, Judgement, void> {
  const evidence = new Evidence(inputs);
  const survey = new Survey(evidence, digest);
  const sheet = new Sheet();
  yield;
  sheet.find('identity', tailnetIdentity(evidence));
  for (const group of survey.groups) {
    yield* judgeGroup(sheet, group, survey);
    yield;
  }
  isRead(sheet, evidence, { layer: 'guard', kind: 'running', key: UNLIKE });
  for (const [key, sidecar] of evidence.all('sidecar')) {
    judgeSidecar(sheet, { key, sidecar }, survey);
    yield;
  }
  yield* judgeNetworkPolicies(sheet, survey);
  const tailnets = evidence.all('tailnet');
  const customers = new Set(tailnets.map(([, { customerId }]) => customerId)).size;
  return {
    ...{ customers, pairs: customers * Math.max(0, customers - 1), tailnets: tailnets.length, sidecars: evidence.keys('sidecar').length },
    ...{ layers: sheet.layers(), findings: sheet.findings, reservations: sheet.reservations },
  };
}

/** {@link judging}, all at once. */
export function judgeEvidence(inputs: readonly ProofInput[], digest: Digest): Judgement {
  const steps = judging(inputs, digest);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** Of tailnets whose policy is none of ours nothing is asked: there each customer is alone, and the guard holds what is blocked. */
function* judgeGroup(sheet: Sheet, group: ControlGroup, survey: Survey): Generator<void, void, void> {
  const { evidence } = survey;
  const { key } = group;
  sheet.judged('identity');
  if (isRead(sheet, evidence, { layer: 'identity', kind: 'devices', key })) sheet.find('identity', deviceIdentity(group, survey));
  if (!group.tailnets.some(([, { managed, tenancy }]) => managed || tenancy === SHARED)) return;
  const layer = 'tailnet-policy';
  sheet.judged(layer);
  isRead(sheet, evidence, { layer, kind: 'devices', key });
  if (!isRead(sheet, evidence, { layer, kind: 'policy', key })) return;
  for (const found of provePolicy(group, survey)) {
    if (found !== undefined) sheet.find(layer, [found]);
    yield;
  }
}

interface Attached {
  readonly key: string;
  readonly sidecar: SidecarEvidence;
}

function judgeSidecar(sheet: Sheet, { key, sidecar }: Attached, survey: Survey): void {
  const { evidence } = survey;
  sheet.judged('identity');
  isRead(sheet, evidence, { layer: 'identity', kind: 'workload', key });
  sheet.find('identity', sidecarIdentity(key, sidecar, evidence));
  sheet.find('identity', runningIdentity(key, sidecar, survey));
  const tailnet = evidence.get('tailnet', sidecar.tailnetName);
  // Another customer's tailnet of that name has no say about its rules: told as `foreign-tailnet`.
  if (tailnet === undefined || tailnet.customerId !== sidecar.customerId) return;
  isRead(sheet, evidence, { layer: 'guard', kind: 'workload', key });
  judgeGuard(sheet, { key, sidecar, tailnet }, survey);
}

/** The template's guard, and that of each pod which runs otherwise. */
function judgeGuard(sheet: Sheet, { key, sidecar, tailnet }: Attached & { readonly tailnet: TailnetEvidence }, survey: Survey): void {
  const layer = 'guard';
  const { evidence, settings } = survey;
  const workload = evidence.get('workload', key);
  const template = workload?.carries === true ? workload : undefined;
  const agents = evidence.get('agents', key) ?? [];
  const running = survey.runningOf(key);
  // Agents whose pods nobody sees. Without any there is no way into the tailnet.
  const isUnseen = workload !== undefined && template === undefined && running.length === 0 && agents.length > 0;
  if (isUnseen) sheet.reserve({ layer, assurance: 'unproven', reason: 'no-workload', subject: `workload ${key}` });
  if (template !== undefined || running.length > 0) sheet.judged(layer);
  const common = { settings, tailnet, sidecar, policies: evidence.get('network-policies', sidecar.namespace) };
  const judge = (question: Pick<GuardQuestion, 'workload' | 'agents' | 'running'>, subject: string): void => {
    const { faults, reservations } = proveGuard({ ...common, ...question });
    const { tailnetName, customerId } = sidecar;
    sheet.find(
      layer,
      faults.map(({ kind, by }) => ({ kind, tailnetName, customerId, by, where: subject })),
    );
    for (const reservation of reservations) sheet.reserve({ layer, ...reservation, subject });
  };
  if (template !== undefined) judge({ workload: template, agents }, `workload ${key}`);
  // What their agents say is judged with the template, where there is one.
  const left = template === undefined ? agents : [];
  for (const pods of running) judge({ workload: pods, agents: left, running: { templateGuard: template?.guard } }, `pod ${pods.pod}`);
}

function* judgeNetworkPolicies(sheet: Sheet, { evidence, settings }: Survey): Generator<void, void, void> {
  const layer = 'network-policy';
  if (!settings.networkPolicyEnforced || !settings.networkPoliciesKept) {
    sheet.reserve({ layer, assurance: 'unproven', reason: 'network-policies-not-enforced', subject: 'installation' });
    return;
  }
  if (!isRead(sheet, evidence, { layer, kind: 'pods', key: PODS })) return;
  const pods = evidence.get('pods', PODS) ?? [];
  const namespaces = [...new Set(pods.map(({ namespace }) => namespace))];
  const unread = new Set(namespaces.filter((key) => !isRead(sheet, evidence, { layer, kind: 'network-policies', key })));
  const known = pods.filter(({ namespace }) => !unread.has(namespace));
  for (const _ of known) sheet.judged(layer);
  const policies = new Map(namespaces.map((namespace) => [namespace, evidence.get('network-policies', namespace) ?? []]));
  for (const found of proveNetworkPolicies(known, policies, MAX_TOLD)) {
    if (found !== undefined) sheet.find(layer, [{ ...found, tailnetName: '' }]);
    yield;
  }
}
