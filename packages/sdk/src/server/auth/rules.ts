import { BifrostError } from '@bifrost/types/core';
import { customersOf, hasEverywhere, includesRole, type Principal, type Role, roleFor } from './principal.ts';

/** The calls of the network API. */
export type MethodName =
  | 'CreateTailnet'
  | 'GetTailnet'
  | 'ListTailnets'
  | 'UpdateTailnet'
  | 'PlanUpdateTailnet'
  | 'DeleteTailnet'
  | 'PauseTailnet'
  | 'ResumeTailnet'
  | 'GetNetworkStatus'
  | 'GetFirewallRequirements'
  | 'UpgradeSidecars'
  | 'PlanUpgradeSidecars'
  | 'AttachSidecar'
  | 'PlanAttachSidecar'
  | 'InjectSidecar'
  | 'GetSidecar'
  | 'ListSidecars'
  | 'UpdateSidecar'
  | 'PlanUpdateSidecar'
  | 'ExplainPacket'
  | 'RepairSidecar'
  | 'QuarantineSidecar'
  | 'ReadmitSidecar'
  | 'DetachSidecar'
  | 'MonitorConnectivity'
  | 'GetConnectionMetrics'
  | 'ListLeftovers'
  | 'ProveIsolation'
  | 'GetServiceInfo'
  | 'SetReadOnly';

/** Flags of a request that ask for more than the call itself. */
export type AdminFlag = 'abandon' | 'cascade';

/** What a call asks of its caller. */
export interface MethodRule {
  /** The role, for the customer whom the call is about. */
  readonly needs: Role;
  /**
   * What the call is about. `customer`: one that the request names. `tailnet`, `sidecar`, `workload`: an object of one customer. `list`: those that the
   * caller may see. `installation`: no customer in particular.
   */
  readonly about: 'customer' | 'tailnet' | 'sidecar' | 'workload' | 'list' | 'installation';
  /** Whether the role must be for all customers. */
  readonly everywhere: boolean;
  /** Whether it changes something: it is recorded, takes an idempotency key, and is refused while read-only. */
  readonly changes: boolean;
  /** Whether the manager records each call of it: of what changes something, and of questions that show what is allowed, or would be. */
  readonly recorded: boolean;
  /** What it takes from the caller's and the customer's limit, points. */
  readonly cost: number;
  /** Set, these need an admin. */
  readonly adminFlags: readonly AdminFlag[];
}

/** Points per kind of call: what it asks of the store, the cluster and the control plane, next to reading one object. */
const COST = { read: 1, change: 5, list: 5, trial: 10, everything: 50 } as const;

type Given = Pick<MethodRule, 'needs' | 'about' | 'cost'>;
const reads = (given: Given): MethodRule => ({ ...given, everywhere: false, changes: false, recorded: false, adminFlags: [] });
const asks = (given: Given): MethodRule => ({ ...reads(given), recorded: true });
const changes = (given: Given & Partial<MethodRule>): MethodRule => ({ everywhere: false, changes: true, recorded: true, adminFlags: [], ...given });

/** Who may call what, and what it costs: the one table. */
export const METHOD_RULES: Readonly<Record<MethodName, MethodRule>> = {
  CreateTailnet: changes({ needs: 'operator', about: 'customer', cost: COST.trial }),
  GetTailnet: reads({ needs: 'viewer', about: 'tailnet', cost: COST.read }),
  ListTailnets: reads({ needs: 'viewer', about: 'list', cost: COST.list }),
  UpdateTailnet: changes({ needs: 'operator', about: 'tailnet', cost: COST.change }),
  PlanUpdateTailnet: asks({ needs: 'viewer', about: 'tailnet', cost: COST.trial }),
  DeleteTailnet: changes({ needs: 'admin', about: 'tailnet', cost: COST.change, adminFlags: ['abandon', 'cascade'] }),
  PauseTailnet: changes({ needs: 'operator', about: 'tailnet', cost: COST.change }),
  ResumeTailnet: changes({ needs: 'operator', about: 'tailnet', cost: COST.change }),
  GetNetworkStatus: reads({ needs: 'viewer', about: 'tailnet', cost: COST.read }),
  // It asks the control plane.
  GetFirewallRequirements: asks({ needs: 'viewer', about: 'tailnet', cost: COST.trial }),
  UpgradeSidecars: changes({ needs: 'operator', about: 'tailnet', cost: COST.trial }),
  PlanUpgradeSidecars: asks({ needs: 'viewer', about: 'tailnet', cost: COST.trial }),
  AttachSidecar: changes({ needs: 'operator', about: 'tailnet', cost: COST.trial }),
  // It shows what would be put into a pod, and tries that on the API server: not for everyone who may look.
  PlanAttachSidecar: asks({ needs: 'operator', about: 'tailnet', cost: COST.trial }),
  InjectSidecar: changes({ needs: 'operator', about: 'tailnet', cost: COST.trial }),
  GetSidecar: reads({ needs: 'viewer', about: 'sidecar', cost: COST.read }),
  ListSidecars: reads({ needs: 'viewer', about: 'list', cost: COST.list }),
  UpdateSidecar: changes({ needs: 'operator', about: 'sidecar', cost: COST.trial }),
  PlanUpdateSidecar: asks({ needs: 'viewer', about: 'sidecar', cost: COST.trial }),
  // It asks the control plane.
  ExplainPacket: asks({ needs: 'viewer', about: 'sidecar', cost: COST.trial }),
  RepairSidecar: changes({ needs: 'operator', about: 'sidecar', cost: COST.change }),
  QuarantineSidecar: changes({ needs: 'operator', about: 'sidecar', cost: COST.change }),
  ReadmitSidecar: changes({ needs: 'operator', about: 'sidecar', cost: COST.change }),
  DetachSidecar: changes({ needs: 'operator', about: 'sidecar', cost: COST.change, adminFlags: ['abandon'] }),
  MonitorConnectivity: reads({ needs: 'viewer', about: 'list', cost: COST.list }),
  GetConnectionMetrics: reads({ needs: 'viewer', about: 'list', cost: COST.list }),
  // It asks every control plane, and shows what belongs to nobody.
  ListLeftovers: { ...reads({ needs: 'admin', about: 'installation', cost: COST.everything }), everywhere: true },
  // It reads everything back, and speaks of all customers.
  ProveIsolation: { ...asks({ needs: 'operator', about: 'installation', cost: COST.everything }), everywhere: true },
  GetServiceInfo: reads({ needs: 'viewer', about: 'installation', cost: COST.read }),
  SetReadOnly: changes({ needs: 'admin', about: 'installation', cost: COST.change, everywhere: true }),
};

/** The dearest call: a limit must have room for it. */
export const LARGEST_COST: number = Math.max(...Object.values(METHOD_RULES).map(({ cost }) => cost));

/** The rule of a call with these flags set. */
export function ruleOf(method: MethodName, flags: readonly AdminFlag[] = []): MethodRule {
  const rule = METHOD_RULES[method];
  return flags.some((flag) => rule.adminFlags.includes(flag)) ? { ...rule, needs: 'admin' } : rule;
}

/**
 * `foreign`: answer exactly as for an object that does not exist. `denied`: the caller may know of it and may not do this: `PERMISSION_DENIED`.
 */
export type Verdict = 'allowed' | 'foreign' | 'denied';

/**
 * Whether the caller may do this. `customerId` is the customer of the object as it is stored (never as the request says), undefined when there is no
 * such object; of a list, the customer that the request asks for, undefined when it asks for all: then show what {@link customersOf} says.
 *
 * A customer is no object of ours: creating for one of others' is `denied`, which tells nothing, since a customer who does not exist gets the same.
 */
export function decide(rule: MethodRule, principal: Principal, customerId: string | undefined): Verdict {
  const { needs, about, everywhere } = rule;
  if (about === 'installation' || (about === 'list' && customerId === undefined)) {
    const customers = customersOf(principal, needs);
    const isAllowed = everywhere ? hasEverywhere(principal, needs) : customers === '*' || customers.size > 0;
    return isAllowed ? 'allowed' : 'denied';
  }
  const role = customerId === undefined ? undefined : roleFor(principal, customerId);
  if (role === undefined) return about === 'customer' ? 'denied' : 'foreign';
  return includesRole(role, needs) ? 'allowed' : 'denied';
}

/** What a caller is told whose role is too small. Names the call and the role, not the customer. */
export function permissionDenied(method: MethodName, { needs, everywhere }: MethodRule): BifrostError {
  const where = everywhere ? 'for all customers' : 'for this customer';
  return new BifrostError({
    code: 'PERMISSION_DENIED',
    message: `${method} needs the role ${needs} ${where}: ask whoever grants roles.`,
    details: { method, needs },
  });
}
