import {
  AccessPolicySchema,
  type CallerWay,
  type ChangePlan,
  type Condition,
  DeviceAccessChangeSchema,
  LosingPeer_Loss,
  NetworkModeSchema,
  type NetworkPolicyPlan,
  type PlanUpdateSidecarResponseSchema,
  type PlanUpdateTailnetResponseSchema,
  type PlanUpgradeSidecarsResponseSchema,
  type Sidecar,
  Sidecar_Mode,
  Sidecar_StatusSchema,
  type StatusReason,
  type Tailnet,
  Tailnet_StatusSchema,
  Tailnet_TenancySchema,
} from '@bifrost/types/proto';
import type { DescMessage, DescMethodUnary, MessageInitShape } from '@bufbuild/protobuf';
import { countText, durationText } from './quantities.ts';
import { safeText } from './safe-text.ts';
import type { Session } from './session.ts';
import { factLines, type Table } from './table.ts';
import { timeMs, wireOf, wordOf } from './wire.ts';

export const tailnetStatus = ({ status }: Pick<Tailnet, 'status'>): string => wordOf(Tailnet_StatusSchema, status);
export const sidecarStatus = ({ status }: Pick<Sidecar, 'status'>): string => wordOf(Sidecar_StatusSchema, status);

export const reasonText = (reason: StatusReason | undefined): string | undefined =>
  reason === undefined ? undefined : `${reason.message}${reason.path === '' ? '' : ` (${reason.path})`}`;

const isUp = (status: string): boolean => status === 'connected' || status === 'degraded';

/** Pods of a sidecar that are connected, of all that are known. */
export const instancesUp = ({ instances }: Sidecar): number => instances.filter((instance) => isUp(sidecarStatus(instance))).length;

export const workloadText = ({ workload, bookDeploymentId }: Pick<Sidecar, 'workload' | 'bookDeploymentId'>): string =>
  workload === undefined ? bookDeploymentId : `${workload.namespace}/${workload.name}`;

/** `3m` ago, by this machine's clock. */
export function ageText({ cli }: Session, time: Tailnet['createdAt']): string | undefined {
  const atMs = timeMs(time);
  return atMs === undefined ? undefined : durationText(cli.clock.nowMs() - atMs);
}

export const tailnetTable = (session: Session, tailnets: readonly Tailnet[]): Table => ({
  head: ['TAILNET', 'CUSTOMER', 'STATUS', 'POLICY', 'ALLOWED', 'PAUSED', 'AGE', 'REASON'],
  rows: tailnets.map((tailnet) => [
    tailnet.tailnetName,
    tailnet.customerId,
    tailnetStatus(tailnet),
    wordOf(AccessPolicySchema, tailnet.config?.accessPolicy ?? 0),
    tailnet.config?.allowedNetworks.join(','),
    tailnet.paused ? 'yes' : '',
    ageText(session, tailnet.createdAt),
    tailnet.reason?.code,
  ]),
});

export const sidecarTable = (session: Session, sidecars: readonly Sidecar[]): Table => ({
  head: ['SIDECAR', 'WORKLOAD', 'TAILNET', 'STATUS', 'PODS', 'ADDRESS', 'MODE', 'AGE', 'REASON'],
  rows: sidecars.map((sidecar) => [
    sidecar.sidecarId,
    workloadText(sidecar),
    sidecar.tailnetName,
    sidecarStatus(sidecar),
    `${instancesUp(sidecar)}/${sidecar.instances.length}`,
    sidecar.ipAddress,
    wordOf(NetworkModeSchema, sidecar.networkMode),
    ageText(session, sidecar.createdAt),
    sidecar.reason?.code,
  ]),
});

export const conditionTable = (session: Session, conditions: readonly Condition[]): Table => ({
  head: ['CONDITION', 'STATUS', 'REASON', 'SINCE', 'MESSAGE'],
  rows: conditions.map(({ type, status, reason, message, lastTransitionTime }) => [
    type,
    status,
    reason,
    ageText(session, lastTransitionTime),
    message,
  ]),
});

const instanceTable = (session: Session, { instances }: Sidecar): Table => ({
  head: ['POD', 'STATUS', 'CAUSE', 'ADDRESS', 'DEVICE', 'REPORTED', 'GUARD', 'SIGNS'],
  rows: instances.map((instance) => {
    const age = ageText(session, instance.lastReportAt);
    const { podName, cause, ipAddress, deviceId, guard, signs } = instance;
    return [podName, sidecarStatus(instance), cause, ipAddress, deviceId, age && `${age} ago`, guard, signs.join(' ')];
  }),
});

/** With an empty line before, or nothing. */
export const section = (session: Session, table: Table): readonly string[] => (table.rows.length === 0 ? [] : ['', ...session.show.table(table)]);

export function tailnetLines(session: Session, tailnet: Tailnet): readonly string[] {
  const { config, upgrade } = tailnet;
  return [
    ...factLines([
      ['tailnet', tailnet.tailnetName],
      ['id', tailnet.tailnetId],
      ['customer', tailnet.customerId],
      ['status', tailnetStatus(tailnet)],
      ['reason', reasonText(tailnet.reason)],
      ['paused', tailnet.paused ? 'yes' : 'no'],
      ['tenancy', wordOf(Tailnet_TenancySchema, tailnet.tenancy)],
      ['policy', wordOf(AccessPolicySchema, config?.accessPolicy ?? 0)],
      ['allowed', config?.allowedNetworks.join(', ')],
      ['blocked', config?.blockedNetworks.join(', ')],
      ['logging', config?.enableLogging ? 'yes' : 'no'],
      ['tags', tailnet.tags.join(', ')],
      ...(tailnet.managePolicy ? [['keeps policy', 'yes'] as const] : []),
      ['age', ageText(session, tailnet.createdAt)],
      ['etag', tailnet.etag],
      ...(upgrade === undefined ? [] : [['upgrade', upgradeText(upgrade)] as const]),
    ]),
    ...section(session, conditionTable(session, tailnet.conditions)),
  ];
}

export function upgradeText({ done, total, finished, haltedBy }: NonNullable<Tailnet['upgrade']>): string {
  const state = haltedBy === undefined ? (finished ? 'finished' : 'under way') : `halted by ${haltedBy.sidecarId}: ${haltedBy.message}`;
  return `${done} of ${total}, ${state}`;
}

function quarantineText(session: Session, { quarantine }: Sidecar): string | undefined {
  if (quarantine === undefined) return undefined;
  const { since, reason } = quarantine;
  return `for ${ageText(session, since) ?? 'some time'}${reason === '' ? '' : `: ${reason}`}`;
}

export function sidecarLines(session: Session, sidecar: Sidecar): readonly string[] {
  const { config, workload } = sidecar;
  return [
    ...factLines([
      ['sidecar', sidecar.sidecarId],
      ['workload', workload === undefined ? undefined : `${workload.kind} ${workload.namespace}/${workload.name}`],
      ['book', sidecar.bookDeploymentId],
      ['tailnet', sidecar.tailnetName],
      ['customer', sidecar.customerId],
      ['status', sidecarStatus(sidecar)],
      ['reason', reasonText(sidecar.reason)],
      ['quarantine', quarantineText(session, sidecar)],
      ['address', sidecar.ipAddress],
      ['hostname', config?.hostname],
      ['advertises', config?.advertiseRoutes.join(', ')],
      ['takes routes', config?.acceptRoutes ? 'yes' : 'no'],
      ['ssh', config?.enableSsh ? 'yes' : 'no'],
      ['mode', wordOf(NetworkModeSchema, sidecar.networkMode)],
      ['owned by', sidecar.mode === Sidecar_Mode.inject ? 'whoever created the workload' : 'bifrost'],
      ['age', ageText(session, sidecar.createdAt)],
      ['etag', sidecar.etag],
    ]),
    ...section(session, instanceTable(session, sidecar)),
    ...section(session, conditionTable(session, sidecar.conditions)),
  ];
}

function planLines(session: Session, plan: ChangePlan): readonly string[] {
  if (plan.changes.length === 0 && plan.rollouts.length === 0) return ['nothing would change'];
  const rollouts: Table = {
    head: ['SIDECAR', 'WORKLOAD', 'CHANGED'],
    rows: plan.rollouts.map((rollout) => [rollout.sidecarId, workloadText(rollout), rollout.changed.join(', ')]),
  };
  return [
    `would change: ${plan.changes.length === 0 ? 'what is rendered, not what is wanted' : plan.changes.join(', ')}`,
    plan.rollouts.length === 0 ? 'no pods would be replaced' : 'pods of these would be replaced:',
    ...section(session, rollouts),
    ...accessLines(plan),
    ...policyLines(plan.networkPolicies),
    ...(plan.ownedByCreator.length === 0 ? [] : ['', `reached only with a new manifest of their creator: ${plan.ownedByCreator.join(', ')}`]),
  ];
}

/** What NetworkPolicies would cut, one line each. */
export const policyLines = (plans: readonly NetworkPolicyPlan[]): readonly string[] =>
  plans.flatMap(({ sidecarId, cuts }) => {
    const lost = cuts.map(({ direction, protocol, cut }) => `  ${direction} ${protocol}: ${cut}`);
    return [`NetworkPolicy of sidecar ${sidecarId} would cut${lost.length === 0 ? ' nothing' : ':'}`, ...lost].map(safeText);
  });

/** Who gains and who loses, and what may be meant otherwise. */
function accessLines({ access, callers, livePeers, outputs, warnings }: ChangePlan): readonly string[] {
  const devices = access === undefined ? '' : wordOf(DeviceAccessChangeSchema, access.devices);
  const list = (networks: readonly string[] = [], word: string): readonly string[] => {
    const all = [...networks, ...(devices === word ? ['the tailnet’s own devices'] : [])];
    const books = access?.books.length ?? 0;
    return all.length === 0
      ? []
      : [
          `${countText(books, 'book')} ${word === 'gained' ? 'gain' : 'lose'}${books === 1 ? 's' : ''} ${portsText(access?.ports)}: ${all.join(', ')}`,
        ];
  };
  return [
    ...list(access?.gained, 'gained'),
    ...list(access?.lost, 'lost'),
    ...(callers?.gained ?? []).map((way) => wayLine('gain', way)),
    ...(callers?.lost ?? []).map((way) => wayLine('lose', way)),
    ...peerLines(livePeers),
    ...outputs.flatMap(({ output, added, removed }) => [
      `${output}:`,
      ...removed.map((entry) => `  - ${entry}`),
      ...added.map((entry) => `  + ${entry}`),
    ]),
    ...warnings.map(({ code, path, message }) => `warning: ${path}: ${message} (${code})`),
  ];
}

/** A service of the time before says nothing of ports: then it was all of them. */
const portsText = (ports: readonly string[] = []): string =>
  ports.length === 0 || ports.includes('*') ? 'on all ports' : `on ${safeText(ports.join(', '))}`;

const wayLine = (word: 'gain' | 'lose', { from, to, ports }: CallerWay): string => `${safeText(from)} ${word}s ${portsText(ports)}: ${safeText(to)}`;

/** Of what is in use now. */
function peerLines(peers: ChangePlan['livePeers']): readonly string[] {
  if (peers === undefined) return [];
  const { lost, total, losing } = peers;
  return [
    `${lost} of ${countText(total, 'peer')} in use would be lost`,
    ...losing.map(({ name, routes, loss, instances }) => {
      const which = loss === LosingPeer_Loss.all ? 'lost' : 'lost in part';
      return `  ${safeText(name)} (${safeText(routes.join(', ')) || 'a device'}): ${which}, used by ${countText(instances, 'instance')}`;
    }),
  ];
}

type PlanSchema = typeof PlanUpdateTailnetResponseSchema | typeof PlanUpdateSidecarResponseSchema | typeof PlanUpgradeSidecarsResponseSchema;

/** Asks what a change would do, and shows it. */
export async function showPlan<Input extends DescMessage, Output extends PlanSchema>(
  session: Session,
  method: DescMethodUnary<Input, Output>,
  request: MessageInitShape<Input>,
): Promise<void> {
  const answer = await session.call(method, request);
  const { plan } = answer as { readonly plan?: ChangePlan };
  session.show.answer(wireOf(method.output, answer), () => (plan === undefined ? [] : planLines(session, plan)));
}
