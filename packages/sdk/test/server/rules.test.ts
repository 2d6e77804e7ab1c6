import { describe, expect, it } from 'vitest';
import { grantsOf } from '../../src/server/auth/grants.ts';
import type { Principal, Role } from '../../src/server/auth/principal.ts';
import { decide, LARGEST_COST, METHOD_RULES, type MethodName, permissionDenied, ruleOf } from '../../src/server/auth/rules.ts';

const ROLES: readonly (Role | 'none')[] = ['none', 'viewer', 'operator', 'admin'];
const OWN = 'customer-own';
const FOREIGN = 'customer-foreign';
const caller = (...roles: readonly string[]): Principal => ({ subject: 'ada', via: 'jwt', grants: grantsOf(roles) });

/** The same once more, in plain words and by hand: who may make each call for a customer of theirs. */
const MAY: Readonly<Record<MethodName, readonly Role[]>> = {
  CreateTailnet: ['operator', 'admin'],
  GetTailnet: ['viewer', 'operator', 'admin'],
  ListTailnets: ['viewer', 'operator', 'admin'],
  UpdateTailnet: ['operator', 'admin'],
  DeleteTailnet: ['admin'],
  PlanUpdateTailnet: ['viewer', 'operator', 'admin'],
  PauseTailnet: ['operator', 'admin'],
  ResumeTailnet: ['operator', 'admin'],
  GetNetworkStatus: ['viewer', 'operator', 'admin'],
  GetFirewallRequirements: ['viewer', 'operator', 'admin'],
  UpgradeSidecars: ['operator', 'admin'],
  PlanUpgradeSidecars: ['viewer', 'operator', 'admin'],
  AttachSidecar: ['operator', 'admin'],
  PlanAttachSidecar: ['operator', 'admin'],
  InjectSidecar: ['operator', 'admin'],
  GetSidecar: ['viewer', 'operator', 'admin'],
  ListSidecars: ['viewer', 'operator', 'admin'],
  UpdateSidecar: ['operator', 'admin'],
  PlanUpdateSidecar: ['viewer', 'operator', 'admin'],
  ExplainPacket: ['viewer', 'operator', 'admin'],
  RepairSidecar: ['operator', 'admin'],
  DetachSidecar: ['operator', 'admin'],
  MonitorConnectivity: ['viewer', 'operator', 'admin'],
  GetConnectionMetrics: ['viewer', 'operator', 'admin'],
  ListLeftovers: ['admin'],
  ProveIsolation: ['operator', 'admin'],
  GetServiceInfo: ['viewer', 'operator', 'admin'],
  SetReadOnly: ['admin'],
};
const METHODS = Object.keys(MAY) as MethodName[];
const ONLY_EVERYWHERE: readonly MethodName[] = ['ListLeftovers', 'ProveIsolation', 'SetReadOnly'];
const INSTALLATION: readonly MethodName[] = [...ONLY_EVERYWHERE, 'GetServiceInfo'];
const LISTS: readonly MethodName[] = ['ListTailnets', 'ListSidecars', 'MonitorConnectivity', 'GetConnectionMetrics'];
const READS: readonly MethodName[] = METHODS.filter((method) => /^(Get|List|Plan|Monitor|Explain|Prove)/.test(method));
const ROLE_ROWS = METHODS.flatMap((method) => ROLES.map((role) => ({ method, role })));

function expected(method: MethodName, role: Role | 'none', whose: 'own' | 'foreign' | 'absent'): string {
  const may = role !== 'none' && MAY[method].includes(role);
  if (ONLY_EVERYWHERE.includes(method)) return 'denied'; // the role here is for one customer
  if (INSTALLATION.includes(method)) return may ? 'allowed' : 'denied';
  if (LISTS.includes(method) && whose === 'absent') return may ? 'allowed' : 'denied'; // of all that the caller may see
  if (whose === 'own' && role !== 'none') return may ? 'allowed' : 'denied';
  return method === 'CreateTailnet' ? 'denied' : 'foreign';
}

describe('who may call what', () => {
  it('the table has each call once', () => {
    expect(Object.keys(METHOD_RULES).sort()).toEqual([...METHODS].sort());
    expect(METHODS).toHaveLength(28);
  });

  it.each(ROLE_ROWS)('$method by $role of one customer: own, foreign, absent', ({ method, role }) => {
    const principal = role === 'none' ? caller() : caller(`${role}:${OWN}`);
    const rule = ruleOf(method);
    expect({ own: decide(rule, principal, OWN), foreign: decide(rule, principal, FOREIGN), absent: decide(rule, principal, undefined) }).toEqual({
      own: expected(method, role, 'own'),
      foreign: expected(method, role, 'foreign'),
      absent: expected(method, role, 'absent'),
    });
  });

  it.each(ROLE_ROWS.filter(({ role }) => role !== 'none'))('$method by $role of all customers', ({ method, role }) => {
    const principal = caller(`${role}:*`);
    const verdict = MAY[method].includes(role as Role) ? 'allowed' : 'denied';
    expect(decide(ruleOf(method), principal, FOREIGN)).toBe(verdict);
    if (INSTALLATION.includes(method) || LISTS.includes(method)) expect(decide(ruleOf(method), principal, undefined)).toBe(verdict);
    else expect(decide(ruleOf(method), principal, undefined)).toBe(method === 'CreateTailnet' ? 'denied' : 'foreign'); // for nobody more than “there is none”
  });

  it('a larger role for another customer does not help', () => {
    const principal = caller(`viewer:${OWN}`, `admin:${FOREIGN}`);
    expect(decide(ruleOf('UpdateTailnet'), principal, OWN)).toBe('denied');
    expect(decide(ruleOf('UpdateTailnet'), principal, FOREIGN)).toBe('allowed');
    expect(decide(ruleOf('ListLeftovers'), principal, undefined)).toBe('denied');
  });

  it('abandon and cascade need an admin, where the call knows them', () => {
    const operator = caller(`operator:${OWN}`);
    expect(decide(ruleOf('DetachSidecar', []), operator, OWN)).toBe('allowed');
    expect(decide(ruleOf('DetachSidecar', ['abandon']), operator, OWN)).toBe('denied');
    expect(decide(ruleOf('DetachSidecar', ['abandon']), caller(`admin:${OWN}`), OWN)).toBe('allowed');
    expect(decide(ruleOf('DetachSidecar', ['cascade']), operator, OWN)).toBe('allowed');
    expect(METHOD_RULES.DeleteTailnet).toMatchObject({ needs: 'admin', adminFlags: ['abandon', 'cascade'] });
  });

  it('reads change nothing and everything else does; every call costs something', () => {
    expect(METHODS.filter((method) => !METHOD_RULES[method].changes).sort()).toEqual([...READS].sort());
    for (const method of METHODS) expect(METHOD_RULES[method].cost).toBeGreaterThanOrEqual(1);
    expect(LARGEST_COST).toBe(50);
  });

  it('PERMISSION_DENIED names the call and the role, and not the customer', () => {
    const error = permissionDenied('DetachSidecar', ruleOf('DetachSidecar', ['abandon']));
    expect(error).toMatchObject({ code: 'PERMISSION_DENIED', retry: 'never', details: { method: 'DetachSidecar', needs: 'admin' } });
    expect(JSON.stringify(error)).not.toContain('customer-');
    expect(permissionDenied('ListLeftovers', ruleOf('ListLeftovers')).message).toContain('all customers');
  });
});
