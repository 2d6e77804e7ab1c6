import type { AccessChange, ChangePlan, NetworkConfiguration } from '@bifrost/types/core';
import type { SidecarSpec, StoredSidecar, StoredTailnet, TailnetSpec } from '../domain/model.ts';
import { accessChange, accessPorts, callerChange } from '../domain/policy/access-change.ts';
import { compilePolicy, type PolicySections } from '../domain/policy/compile-policy.ts';
import { guardChange, policyChange } from '../domain/policy/output-change.ts';
import { type Reach, reachOf } from '../domain/policy/reach.ts';
import type { Context } from './context.ts';
import { managesPolicy } from './identities.ts';
import { livePeersOf } from './live-peers.ts';
import { sectionsOf } from './policy-members.ts';

/** Of a policy that is not ours to keep. */
const NO_SECTIONS: PolicySections = compilePolicy({ members: [], shared: false });
const NO_REACH: Reach = { networks: [], devices: false };

interface Update {
  readonly before: StoredTailnet;
  readonly now: TailnetSpec;
  readonly sidecars: readonly StoredSidecar[];
}

/** What an update does to those who use the tailnet, and where it is written: the same configuration is enforced in several places. */
export function impactOf(context: Context, { before, now, sidecars }: Update): Pick<ChangePlan, 'access' | 'outputs' | 'livePeers'> {
  const access = accessChange(before.spec.config, now.config);
  const isSame = access.gained.length === 0 && access.lost.length === 0 && access.devices === 'same';
  const isConcerned = ({ spec, deleting }: StoredSidecar): boolean => !deleting && (spec.config.acceptRoutes || access.devices !== 'same');
  const books = [...new Set(sidecars.filter(isConcerned).map(({ spec }) => spec.bookDeploymentId))].sort();
  const sections = (spec: TailnetSpec) => (managesPolicy(spec) ? sectionsOf(context, { ...before, spec }, sidecars) : NO_SECTIONS);
  const outputs = [policyChange(sections(before.spec), sections(now)), guardChange(before.spec.config, now.config)].filter(
    (output) => output !== undefined,
  );
  // What was granted by entries of ours that are taken out, nobody here knows to be granted by others.
  const isWithdrawn = before.state.policyWritten === true && managesPolicy(before.spec) && !managesPolicy(now);
  const reaches = { before: reachOf(before.spec.config), after: isWithdrawn ? NO_REACH : reachOf(now.config) };
  const livePeers = isSame && !isWithdrawn ? undefined : livePeersOf(context, before.key, reaches);
  return {
    ...(isSame ? {} : { access: { ...access, ports: accessPorts(access, before.spec.config, now.config), books } }),
    ...(livePeers === undefined ? {} : { livePeers }),
    ...(outputs.length === 0 ? {} : { outputs }),
  };
}

interface SidecarUpdate {
  readonly tailnet: StoredTailnet;
  readonly before: StoredSidecar;
  readonly now: SidecarSpec;
}

/** What an update of a sidecar does to its book, which takes routes or no longer does, and to those who come to it. */
export function sidecarImpactOf(context: Context, { tailnet, before, now }: SidecarUpdate): Pick<ChangePlan, 'access' | 'callers'> {
  const { config } = tailnet.spec;
  const access = routesChange(config, before.spec, now);
  const grants = (spec: SidecarSpec) => sectionsOf(context, tailnet, [{ ...before, spec }]).grants;
  const callers = managesPolicy(tailnet.spec) ? callerChange(grants(before.spec), grants(now)) : { gained: [], lost: [] };
  return {
    ...(access === undefined ? {} : { access }),
    ...(callers.gained.length + callers.lost.length === 0 ? {} : { callers }),
  };
}

/** A book that takes no routes reaches nothing that lies behind a router; devices it reaches all the same. */
function routesChange(config: NetworkConfiguration, before: SidecarSpec, now: SidecarSpec): AccessChange | undefined {
  const { networks } = reachOf(config);
  if (before.config.acceptRoutes === now.config.acceptRoutes || networks.length === 0) return undefined;
  const [gained, lost] = now.config.acceptRoutes ? [networks, []] : [[], networks];
  const change = { gained, lost, devices: 'same' } as const;
  return { ...change, ports: accessPorts(change, config, config), books: [now.bookDeploymentId] };
}
