import { BifrostError } from '@bifrost/types/core';
import ipaddr from 'ipaddr.js';

/** What a tailnet begins with: everything may reach everything. */
export const DEFAULT_POLICY = `// The default policy: every device may reach every other.
{
  "acls": [{ "action": "accept", "src": ["*"], "dst": ["*:*"] }],
}
`;

/** The parts of a policy that the simulated control plane acts on. Grants are stored, not enforced: nothing sends packets here. */
export interface SimulatedPolicy {
  readonly tagOwners: ReadonlyMap<string, readonly string[]>;
  readonly routeApprovers: ReadonlyMap<string, readonly string[]>;
}

/** A refusal of what was asked (HTTP 400 on the wire; `CONTROL_DENIED` for users of the port). */
export function badRequest(message: string): BifrostError {
  return new BifrostError({ code: 'CONTROL_DENIED', message, details: { status: '400' } });
}

/** HuJSON to JSON: comments and trailing commas become spaces, strings stay as they are. */
function standardize(text: string): string {
  const withoutComments = text.replace(/"(?:[^"\\\n]|\\.)*"|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (part) => (part.startsWith('"') ? part : ' '));
  return withoutComments.replace(/"(?:[^"\\\n]|\\.)*"|,(?=\s*[}\]])/g, (part) => (part.startsWith('"') ? part : ' '));
}

function listsOf(value: unknown): ReadonlyMap<string, readonly string[]> {
  if (value === undefined) return new Map();
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw badRequest('a map of lists is expected');
  return new Map(
    Object.entries(value).map(([name, list]) => {
      if (!Array.isArray(list) || list.some((item) => typeof item !== 'string')) throw badRequest(`${name}: a list of strings is expected`);
      return [name, list as readonly string[]];
    }),
  );
}

/** @throws {BifrostError} `CONTROL_DENIED` with status 400 — not a policy */
export function parsePolicy(text: string): SimulatedPolicy {
  let policy: unknown;
  try {
    policy = JSON.parse(standardize(text));
  } catch (cause) {
    throw new BifrostError({ code: 'CONTROL_DENIED', message: 'the policy is not HuJSON', details: { status: '400' }, cause });
  }
  if (typeof policy !== 'object' || policy === null || Array.isArray(policy)) throw badRequest('the policy must be an object');
  const { tagOwners, autoApprovers } = policy as { tagOwners?: unknown; autoApprovers?: { routes?: unknown } | null };
  const parsed = { tagOwners: listsOf(tagOwners), routeApprovers: listsOf(autoApprovers?.routes) };
  for (const tag of parsed.tagOwners.keys()) if (!/^tag:[a-zA-Z][a-zA-Z0-9-]*$/.test(tag)) throw badRequest('tagOwners: a tag is `tag:` and a name');
  for (const range of parsed.routeApprovers.keys()) if (!ipaddr.isValidCIDR(range)) throw badRequest('autoApprovers.routes: a CIDR is expected');
  return parsed;
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
    return [...policy.routeApprovers].some(([range, approvers]) => {
      const [base, width] = ipaddr.parseCIDR(range);
      return base.kind() === address.kind() && bits >= width && address.match(base, width) && approvers.some((approver) => tags.includes(approver));
    });
  });
}
