import { BifrostError } from '@bifrost/types/core';
import ipaddr from 'ipaddr.js';
import { PLACES, PolicyNames, rangeOf } from './simulated-policy-names.ts';
import { readRules, readSsh } from './simulated-policy-rules.ts';
import { failingSshTests, failingTests, type PolicyDevice, readSshTests, readTests } from './simulated-policy-tests.ts';
import { policyRefused, readPolicySections } from './simulated-policy-text.ts';

/** What a tailnet begins with: everything may reach everything. */
export const DEFAULT_POLICY = `// The default policy: every device may reach every other.
{
  "acls": [{ "action": "accept", "src": ["*"], "dst": ["*:*"] }],
}
`;

/** The parts of a policy that the simulated control plane acts on. Grants are judged by the policy's tests, not enforced: nothing sends packets here. */
export interface SimulatedPolicy {
  readonly tagOwners: ReadonlyMap<string, readonly string[]>;
  readonly routeApprovers: ReadonlyMap<string, readonly string[]>;
  /** Whose exit nodes are approved by themselves. */
  readonly exitApprovers: readonly string[];
}

/** A refusal of what was asked (HTTP 400 on the wire; `CONTROL_DENIED` for users of the port). */
export function badRequest(message: string): BifrostError {
  return new BifrostError({ code: 'CONTROL_DENIED', message, details: { status: '400' } });
}

/** What a policy says, once it is found good. @throws {BifrostError} `POLICY_REFUSED` — not a policy that the control plane takes, or its own tests fail */
export function parsePolicy(text: string, devices: readonly PolicyDevice[] = []): SimulatedPolicy {
  const sections = readPolicySections(text);
  const names = new PolicyNames(sections);
  const [rules, ssh] = [readRules(names, sections), readSsh(names, sections)];
  for (const { target, attr } of sections.nodeattrs ?? []) {
    names.selectors(target, PLACES.target);
    if (attr.includes('')) throw policyRefused('nodeAttrs: an attr is empty');
  }
  const { routes = {}, services = {}, exitnode = [] } = sections.autoapprovers ?? {};
  for (const range of Object.keys(routes)) if (!rangeOf(range)) throw policyRefused('autoApprovers.routes: a CIDR is expected');
  names.selectors(Object.keys(services), PLACES.service);
  names.selectors([...Object.values(routes), ...Object.values(services), exitnode].flat(), PLACES.approver);
  const [tests, sshTests] = [readTests(names, sections), readSshTests(names, sections)];
  const failed = [...failingTests(tests, { rules, devices }), ...failingSshTests(sshTests, { rules: ssh, devices })];
  if (failed.length > 0) throw policyRefused('test(s) failed', failed);
  return { tagOwners: new Map(Object.entries(sections.tagowners)), routeApprovers: new Map(Object.entries(routes)), exitApprovers: exitnode };
}

/** Whether one of `holders` owns `tag`, directly or through tags that own tags. A client without tags (scope all) owns all that the policy names. */
export function mayUseTag(policy: SimulatedPolicy, tag: string, holders: readonly string[]): boolean {
  if (holders.includes(tag)) return true;
  if (!policy.tagOwners.has(tag)) return false;
  if (holders.length === 0) return true;
  const seen = new Set<string>();
  const open = [tag];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    if (seen.has(at)) continue;
    seen.add(at);
    const owners = policy.tagOwners.get(at) ?? [];
    if (owners.some((owner) => holders.includes(owner))) return true;
    open.push(...owners.filter((owner) => owner.startsWith('tag:')));
  }
  return false;
}

/** The routes among `routes` that the policy approves by itself for a device with `tags`. */
export function autoApproved(policy: SimulatedPolicy, routes: readonly string[], tags: readonly string[]): readonly string[] {
  return routes.filter((route) => {
    const [address, bits] = ipaddr.parseCIDR(route);
    if (bits === 0) return policy.exitApprovers.some((approver) => tags.includes(approver));
    return [...policy.routeApprovers].some(([range, approvers]) => {
      const [base, width] = rangeOf(range) ?? [address, 129];
      return bits >= width && base.kind() === address.kind() && address.match(base, width) && approvers.some((approver) => tags.includes(approver));
    });
  });
}
