// Pods that run otherwise than their template says: of an older one, or changed on their way in.
import { describe, expect, it } from 'vitest';
import { judgeEvidence } from '../../src/domain/policy/judge-evidence.ts';
import { ruleLine, rulesOfLines } from '../../src/domain/policy/judge-guard.ts';
import type { GuardEvidence, RunningEvidence } from '../../src/domain/policy/proof-evidence.ts';
import { guardFaults } from '../../src/domain/policy/prove-guard.ts';
import { changed, inputsOf, keyOf, type Read, readBack } from './evidence.ts';
import { customerOf, digest } from './worlds.ts';

const config = { allowedNetworks: ['10.0.0.0/28'], blockedNetworks: ['10.0.0.4/30'], accessPolicy: 'standard', enableLogging: false } as const;
const read = readBack([customerOf('a', config, 0), customerOf('b', config, 1)]);
const key = keyOf({ id: 'a' });
const workload = read.workload?.[key];
const guard = workload?.guard;
if (workload === undefined || guard === undefined) throw new Error('no guard was read');

const { carries: _, ...form } = workload;
const like: RunningEvidence = { ...form, labels: {}, sidecar: key, pod: 'a/shop-old', pods: 2 };
const withPods = (pods: Partial<RunningEvidence>, of: Read = read): Read => ({
  ...of,
  running: { 'pods unlike their template': [{ ...like, ...pods }] },
});
const withGuard = (change: Partial<GuardEvidence>): Partial<RunningEvidence> => ({ guard: { ...guard, sha256: 'of nobody', ...change } });
const judged = (of: Read) => {
  const { findings, reservations, layers } = judgeEvidence(inputsOf(of), digest);
  const ofPods = reservations.filter(({ subject }) => subject !== 'installation').map(({ layer: __, ...rest }) => rest);
  return { findings: findings.map(({ kind, by, where }) => ({ kind, by, where })), reservations: ofPods, layers };
};
const where = 'pod a/shop-old';

describe('pods that run otherwise than their template', () => {
  it('are as good as it where their guard is one that is known', () => {
    const old: GuardEvidence = { ...guard, sha256: 'the one before' };
    const known = changed(read, ['sidecar', key], (sidecar) => ({ ...sidecar, guards: [...sidecar.guards, old] }));
    expect(judged(withPods({ guard: old }, known))).toMatchObject({ findings: [], reservations: [] });
    // Somebody has changed the template, and these pods have what is in it.
    const altered = changed(read, ['workload', key], (of) => ({ ...of, guard: { ...guard, sha256: 'altered' } }));
    expect(judged(withPods({ guard: { ...guard, sha256: 'altered' } }, altered))).toMatchObject({
      findings: [{ kind: 'guard-altered', where: `workload ${key}` }],
      reservations: [],
    });
  });

  it.each<[string, Partial<RunningEvidence>, object]>([
    ['without a guard', { guard: undefined } as never, { kind: 'guard-missing', by: 'no guard among its init containers' }],
    ['of another attachment by their label', { sidecarId: 'sidecar-b' }, { kind: 'foreign-sidecar', by: 'the label of its pods' }],
    ['without the label', { sidecarId: undefined } as never, { kind: 'foreign-sidecar', by: 'the label of its pods' }],
  ])('are named: %s', (_what, pods, found) => {
    expect(judged(withPods(pods)).findings).toEqual([{ ...found, where }]);
  });

  it.each<[string, Partial<RunningEvidence>, string, string]>([
    ['with a guard of nobody’s', withGuard({}), 'unproven', 'guard-outdated'],
    ['of an older intent, whose guard takes no orders', withGuard({ live: false, renderedFor: 'older' }), 'unproven', 'guard-outdated'],
    ['in the node’s network', { hostNetwork: true }, 'unproven', 'node-network'],
    ['before whose guard a webhook has put a container', { guardAt: 1 }, 'cooperative', 'book-may-bypass'],
    ['whose book may more', { containers: [{ name: 'shop', privileged: false, add: ['NET_ADMIN'], drop: [] }] }, 'cooperative', 'book-may-bypass'],
  ])('are less than proven: %s', (_what, pods, assurance, reason) => {
    expect(judged(withPods(pods))).toMatchObject({ findings: [], reservations: [{ assurance, reason, subject: where }] });
  });

  it('are never enforced with a guard of which a rule was changed, and are named where that opens something', () => {
    const rules = rulesOfLines(guard.rules);
    let open = 0;
    const meant = { settings: read.settings?.['manager'], tailnet: read.tailnet?.['a'] } as never;
    for (const [index, rule] of rules.entries()) {
      for (const mutated of [
        rules.toSpliced(index, 1),
        rules.with(index, { ...rule, action: rule.action === 'prohibit' ? 'lookup main' : 'prohibit' }),
      ]) {
        const { findings, reservations } = judged(withPods(withGuard({ rules: mutated.map(ruleLine) })));
        expect(reservations).toEqual([{ assurance: 'unproven', reason: 'guard-outdated', subject: where }]);
        const faults = guardFaults(mutated, meant);
        open += Math.min(1, faults.length);
        expect(findings).toEqual(expect.arrayContaining(faults.map((fault) => ({ ...fault, where }))));
      }
    }
    expect(open).toBeGreaterThan(5);
  });

  it('of userspace mode are judged by NetworkPolicies that select their own labels', () => {
    const settings = changed(read, ['settings', 'manager'], (of) => ({ ...of, networkPolicyEnforced: true }));
    const denying = { name: 'deny', policyTypes: ['Egress'], ingress: [], egress: [] };
    const underPolicy: Read = { ...settings, 'network-policies': { a: [{ ...denying, podSelector: { matchLabels: { app: 'shop' } } }] } };
    const bare: GuardEvidence = { rules: [], live: false, sha256: 'userspace' };
    const known = changed(underPolicy, ['sidecar', key], (sidecar) => ({ ...sidecar, guards: [...sidecar.guards, bare] }));
    const withLabels = (labels: Readonly<Record<string, string>>) => judged(withPods({ guard: bare, labels }, known));
    expect(withLabels({ app: 'shop' })).toMatchObject({ findings: [], reservations: [] });
    expect(withLabels({ app: 'other' }).findings).toEqual([{ kind: 'userspace-unguarded', by: 'NetworkPolicies of its namespace', where }]);
    expect(judged(withPods({ guard: bare }, read)).findings).toEqual([{ kind: 'userspace-unguarded', by: 'networkPolicyEnforced', where }]);
  });

  it('of kernel mode whose guard has lost its rules are not proven by NetworkPolicies that deny; twin: userspace mode’s own guard is', () => {
    const enforced = changed(read, ['settings', 'manager'], (of) => ({ ...of, networkPolicyEnforced: true }));
    const denying = { name: 'deny', podSelector: {}, policyTypes: ['Egress'], ingress: [], egress: [] };
    const denied: Read = { ...enforced, 'network-policies': { a: [denying] } };
    const emptied: GuardEvidence = { ...guard, rules: [], sha256: 'emptied' };
    expect(judged(withPods({ guard: emptied }, denied))).toMatchObject({
      findings: [],
      reservations: [{ assurance: 'unproven', reason: 'guard-outdated', subject: where }],
    });
    const known = changed(denied, ['sidecar', key], (sidecar) => ({ ...sidecar, guards: [...sidecar.guards, emptied] }));
    expect(judged(withPods({ guard: emptied }, known))).toMatchObject({ findings: [], reservations: [] });
  });

  it('are judged, and whose their namespace is, where the template carries nothing any more; twin: agents of pods that nobody sees', () => {
    const gone = changed(read, ['workload', key], (of) => ({ ...of, carries: false }));
    expect(judged(gone)).toMatchObject({ findings: [], reservations: [{ reason: 'no-workload', subject: `workload ${key}` }] });
    const known = { guard };
    expect(judged(withPods(known, gone))).toMatchObject({ findings: [], reservations: [] });
    expect(judged(withPods({ ...known, customerId: 'b' }, gone)).findings).toEqual([{ kind: 'foreign-namespace', by: 'namespace a', where }]);
    // Where it does, it says whose the namespace is, once.
    expect(judged(withPods({ sidecarId: 'sidecar-b', customerId: 'b' })).findings.map(({ kind }) => kind)).toEqual(['foreign-sidecar']);
    const silent = changed(gone, ['agents', key], (agents) => agents.map((agent) => ({ ...agent, heard: false })));
    expect(judged(withPods(known, silent)).reservations).toEqual([{ assurance: 'unproven', reason: 'guard-unheard', subject: where }]);
  });

  it('of a workload that could not be read are judged all the same', () => {
    const { workload: __, ...rest } = withPods({ guard: undefined } as never);
    const inputs = [...inputsOf(rest), { name: `workload ${key}`, from: 'cluster', text: '', unread: 'CLUSTER_UNAVAILABLE' } as const];
    const { findings, reservations } = judgeEvidence(inputs, digest);
    expect(findings).toContainEqual(expect.objectContaining({ kind: 'guard-missing', where }));
    expect(reservations).toContainEqual(expect.objectContaining({ layer: 'guard', reason: 'not-read', subject: `workload ${key}` }));
  });

  it('of a proof that knew nothing of them say nothing: one that was saved before still holds', () => {
    expect(judged(read)).toMatchObject({ findings: [], reservations: [] });
  });
});
