import { formatAddress, type IpAddress, type ProofFinding, type ProofFindingKind, type ProofReason } from '@bifrost/types/core';
import { clearEgress } from '../clear-egress.ts';
import type { NetworkPolicyShape } from '../network-policy-shape.ts';
import { addressPoints, rangesOf, tableOf } from './address-points.ts';
import { DEVICE_NETWORKS, type GuardVerdict, JudgedGuard, type ReadRule, ruleLine, rulesOfLines, ruleText, withOrder } from './judge-guard.ts';
import type {
  AgentEvidence,
  ContainerEvidence,
  GuardEvidence,
  SettingsEvidence,
  SidecarEvidence,
  TailnetEvidence,
  WorkloadEvidence,
} from './proof-evidence.ts';

/** What is meant of an address, as one of these words. */
type Meaning = 'cluster' | 'aside' | 'blocked' | 'allowed' | 'other';

/** All that is judged of one attachment's guard. */
export interface GuardQuestion {
  readonly settings: SettingsEvidence;
  readonly tailnet: TailnetEvidence;
  readonly sidecar: SidecarEvidence;
  /** Its template, or pods that run otherwise. */
  readonly workload: Pick<WorkloadEvidence, 'hostNetwork' | 'labels' | 'guard' | 'guardAt' | 'containers'>;
  /** Of pods that run: what the template has now. What was ever put in is not known: a guard that is none of those is not called altered. */
  readonly running?: { readonly templateGuard: GuardEvidence | undefined };
  readonly agents: readonly AgentEvidence[];
  /** Of its namespace; undefined: not read. Only asked of in userspace mode. */
  readonly policies?: readonly NetworkPolicyShape[] | undefined;
}

/** A finding before it is said whose it is. */
export type GuardFault = Pick<ProofFinding, 'kind' | 'by'>;
export interface GuardAnswer {
  readonly faults: readonly GuardFault[];
  readonly reservations: readonly { readonly assurance: 'cooperative' | 'unproven'; readonly reason: ProofReason }[];
}

/** With them a process can send past the rules, delete them, or get into a process that can. */
const POWERS: ReadonlySet<string> = new Set(
  ['ALL', 'NET_ADMIN', 'NET_RAW', 'SYS_ADMIN', 'SYS_MODULE', 'SYS_PTRACE', 'SYS_RAWIO', 'BPF'].flatMap((power) => [power, `CAP_${power}`]),
);
/** Container runtimes give NET_RAW to whoever does not drop it. */
const DROPS: ReadonlySet<string> = new Set(['ALL', 'NET_RAW', 'CAP_NET_RAW']);

const mayBypass = ({ privileged, add, drop }: ContainerEvidence): boolean =>
  privileged || add.some((power) => POWERS.has(power.toUpperCase())) || !drop.some((power) => DROPS.has(power.toUpperCase()));

/** With a route in table 52 and without one; `isOpen`: the intent lets whatever a router offers be reached. */
interface Verdicts {
  readonly up: GuardVerdict;
  readonly down: GuardVerdict;
  readonly isOpen: boolean;
}

/** Whether a guard lets an address go where its intent does not send it. */
function faultOf(meaning: Meaning, { up, down, isOpen }: Verdicts): ProofFindingKind | undefined {
  if (meaning === 'aside') return undefined;
  if (meaning === 'cluster') return up.goes === 'tailnet' ? 'cluster-into-tailnet' : undefined;
  if (meaning === 'blocked') return up.goes === 'denied' && down.goes === 'denied' ? undefined : 'blocked-open';
  if (meaning === 'allowed') return up.goes === 'clear' || down.goes === 'clear' ? 'fails-open' : undefined;
  return up.goes === 'tailnet' && !isOpen ? 'beyond-allowed' : undefined;
}

const nameOf = (rule: ReadRule | undefined, address: IpAddress): string =>
  rule === undefined ? `no rule for ${formatAddress(address)}` : ruleText(rule);

/** The rule at fault: of the two the one that lets the packet. */
function culprit(kind: ProofFindingKind, up: GuardVerdict, down: GuardVerdict): ReadRule | undefined {
  if (kind === 'fails-open') return up.goes === 'clear' ? up.by : down.by;
  return up.goes === 'denied' ? down.by : up.by;
}

/** What an address is meant to do: by the intent, and by where the cluster is. */
export interface Meant {
  readonly settings: Pick<SettingsEvidence, 'clusterRanges' | 'directAddresses'>;
  readonly tailnet: Pick<TailnetEvidence, 'allowedNetworks' | 'blockedNetworks' | 'accessPolicy'>;
}

/**
 * Every address that these rules send elsewhere than the intent says: blocked ones that go anywhere, allowed ones that leave in clear once tailscaled is
 * dead, the cluster's that a customer's route could take, others that reach the tailnet although only allowed ones are to.
 */
export function guardFaults(rules: readonly ReadRule[], { settings, tailnet }: Meant): readonly GuardFault[] {
  const { clusterRanges, directAddresses } = settings;
  // Where the cluster lies nobody tells: a rule that keeps it out of the tunnel cannot be told from one that lets a customer's network out in clear.
  if (clusterRanges === undefined) return [];
  const { allowedNetworks, blockedNetworks, accessPolicy } = tailnet;
  const cluster = [...clusterRanges.pods, ...clusterRanges.services];
  // Nodes come and go: a guard knows those that were there when it was rendered, and always its own.
  const aside = [...clusterRanges.nodes, ...directAddresses];
  const meanings: readonly (readonly [Meaning, readonly string[]])[] = [
    ['cluster', cluster],
    ['aside', aside],
    ['blocked', blockedNetworks],
    ['allowed', [...allowedNetworks, ...DEVICE_NETWORKS]],
  ];
  const tables = meanings.map(([meaning, ranges]) => [meaning, tableOf(ranges)] as const);
  const meaningOf = (address: IpAddress): Meaning => tables.find(([, table]) => table.holds(address))?.[0] ?? 'other';
  const known = rangesOf(meanings.flatMap(([, ranges]) => ranges));
  const guard = new JudgedGuard(rules);
  const found = new Map<string, GuardFault>();
  for (const address of addressPoints([...known, ...JudgedGuard.rangesOf(rules)])) {
    const [up, down] = [guard.judge(address, { tunnelUp: true }), guard.judge(address, { tunnelUp: false })];
    const kind = faultOf(meaningOf(address), { up, down, isOpen: accessPolicy === 'permissive' });
    if (kind === undefined) continue;
    const by = nameOf(culprit(kind, up, down), address);
    found.set(`${kind} ${by}`, { kind, by });
  }
  return [...found.values()];
}

/** How a template's guard differs from the one that was put in. Empty: in nothing. */
function alterations(actual: GuardEvidence, known: readonly GuardEvidence[]): readonly GuardFault[] {
  const [wanted] = known;
  if (wanted === undefined || known.some(({ sha256 }) => sha256 === actual.sha256)) return [];
  const [there, meant] = [actual, wanted].map(({ rules }) => new Set(rules.map((line) => `IPv${line}`)));
  if (there === undefined || meant === undefined) return [];
  const changed = [
    ...[...meant].filter((rule) => !there.has(rule)).map((rule) => `without ${rule}`),
    ...[...there].filter((rule) => !meant.has(rule)),
  ];
  return (changed.length === 0 ? ['the container'] : changed).map((by) => ({ kind: 'guard-altered', by }));
}

function isCurrent({ renderedFor, sha256 }: GuardEvidence, { tailnet, sidecar }: GuardQuestion): boolean {
  const known = renderedFor ?? sidecar.guards.find((guard) => guard.sha256 === sha256)?.renderedFor;
  return known === undefined || known === tailnet.networkHash;
}

/** Of what its template says that its pods start with, and of what the guards say that they hold. */
function faultsOfRules(guard: GuardEvidence, question: GuardQuestion): readonly GuardFault[] {
  const { tailnet, sidecar } = question;
  // Rendered for an intent that is not wanted any more: whether it is as it was put in is all that can be said of it.
  const rules = rulesOfLines(guard.rules);
  const own = isCurrent(guard, question) ? guardFaults(rules, question) : [];
  if (!guard.live || sidecar.quarantined === true) return own;
  const ordered = withOrder(rules, tailnet);
  const isSame = isCurrent(guard, question) && new Set(ordered.map(ruleLine)).symmetricDifference(new Set(guard.rules)).size === 0;
  return isSame ? own : [...own, ...guardFaults(ordered, question)];
}

const unique = (faults: readonly GuardFault[]): readonly GuardFault[] => [
  ...new Map(faults.map((fault) => [`${fault.kind} ${fault.by}`, fault])).values(),
];

/** In userspace mode the guard writes no rules: NetworkPolicies that deny clear egress stand in for it. */
function proveUserspace({ settings, tailnet, workload, policies }: GuardQuestion): GuardAnswer {
  if (!settings.networkPolicyEnforced) return { faults: [{ kind: 'userspace-unguarded', by: 'networkPolicyEnforced' }], reservations: [] };
  if (policies === undefined) return { faults: [], reservations: [{ assurance: 'unproven', reason: 'network-policies-unread' }] };
  const networks = [...tailnet.allowedNetworks, ...tailnet.blockedNetworks, ...DEVICE_NETWORKS];
  const { clusterRanges } = settings;
  const egress = clearEgress(policies, { labels: workload.labels, networks, ...(clusterRanges === undefined ? {} : { clusterRanges }) });
  return { faults: egress === 'denied' ? [] : [{ kind: 'userspace-unguarded', by: 'NetworkPolicies of its namespace' }], reservations: [] };
}

/** Only of pods: their guard is neither the template's nor any that is stored. One without a rule may be of userspace mode, or have lost them. */
const isStrange = ({ sha256 }: GuardEvidence, { sidecar, running }: GuardQuestion): boolean =>
  running !== undefined && ![...sidecar.guards, running.templateGuard].some((known) => known?.sha256 === sha256);

/** While its network mode is changed, pods of both forms run: a guard of userspace mode writes no rules. */
const isUserspace = (guard: GuardEvidence, { sidecar, running }: GuardQuestion): boolean =>
  running === undefined ? sidecar.userspace : guard.rules.length === 0;

/** What the guard's rules leave open, and how far what the agents say bears that out. */
function proveRules(guard: GuardEvidence, question: GuardQuestion): GuardAnswer {
  const { settings, tailnet, sidecar, agents } = question;
  const isMeant = (holds: string | undefined): boolean => (holds === tailnet.networkHash) !== (sidecar.quarantined === true);
  const isOutdated = guard.live ? agents.some(({ heard, holds }) => heard && !isMeant(holds)) : !isCurrent(guard, question);
  const reasons: readonly (readonly [boolean, ProofReason])[] = [
    [settings.clusterRanges === undefined, 'ranges-unknown'],
    [guard.live && agents.some(({ heard }) => !heard), 'guard-unheard'],
    [isOutdated, 'guard-outdated'],
  ];
  return {
    faults: faultsOfRules(guard, question),
    reservations: reasons.flatMap(([is, reason]) => (is ? [{ assurance: 'unproven', reason } as const] : [])),
  };
}

/** What is open in the pods of one attachment. */
export function proveGuard(question: GuardQuestion): GuardAnswer {
  const { sidecar, workload } = question;
  if (workload.hostNetwork) return { faults: [], reservations: [{ assurance: 'unproven', reason: 'node-network' }] };
  const { guard } = workload;
  if (guard === undefined) return { faults: [{ kind: 'guard-missing', by: 'no guard among its init containers' }], reservations: [] };
  const isLate = workload.guardAt !== 0;
  const late: readonly GuardFault[] =
    isLate && question.running === undefined ? [{ kind: 'guard-altered', by: 'other containers start before it' }] : [];
  const userspace = isUserspace(guard, question);
  const { faults, reservations } = userspace ? proveUserspace(question) : proveRules(guard, question);
  const isOutdated = isStrange(guard, question) && !reservations.some(({ reason }) => reason === 'guard-outdated');
  // Into pods webhooks put containers of the platform's (of a mesh, say) before it: what those sent is not the book's.
  const bypass = (workload.containers.some(mayBypass) && !userspace) || (isLate && question.running !== undefined);
  const altered = question.running === undefined ? alterations(guard, sidecar.guards) : [];
  return {
    faults: unique([...late, ...altered, ...faults]),
    reservations: [
      ...(bypass ? [{ assurance: 'cooperative', reason: 'book-may-bypass' } as const] : []),
      ...reservations,
      ...(isOutdated ? [{ assurance: 'unproven', reason: 'guard-outdated' } as const] : []),
    ],
  };
}
