import type { ChangePlan } from '@bifrost/types/core';
import type { StoredSidecar, StoredTailnet, TailnetSpec } from '../domain/model.ts';
import { accessChange } from '../domain/policy/access-change.ts';
import { guardChange, policyChange } from '../domain/policy/output-change.ts';
import type { Context } from './context.ts';
import { managesPolicy } from './identities.ts';
import { livePeersOf } from './live-peers.ts';
import { sectionsOf } from './policy-members.ts';

interface Update {
  readonly before: StoredTailnet;
  readonly now: TailnetSpec;
  readonly sidecars: readonly StoredSidecar[];
}

/** What an update does to those who use the tailnet, and where it is written: the same configuration is enforced in several places. */
export function impactOf(context: Context, { before, now, sidecars }: Update): Pick<ChangePlan, 'access' | 'outputs' | 'livePeers'> {
  const access = accessChange(before.spec.config, now.config);
  const isSame = access.gained.length === 0 && access.lost.length === 0 && access.devices === 'same';
  const books = [...new Set(sidecars.filter(({ deleting }) => !deleting).map(({ spec }) => spec.bookDeploymentId))].sort();
  const sections = (spec: TailnetSpec) => sectionsOf(context, { ...before, spec }, sidecars);
  const policy = managesPolicy(now) ? policyChange(sections(before.spec), sections(now)) : undefined;
  const outputs = [policy, guardChange(before.spec.config, now.config)].filter((output) => output !== undefined);
  const livePeers = isSame ? undefined : livePeersOf(context, before.key, { before: before.spec.config, now: now.config });
  return {
    ...(isSame ? {} : { access: { ...access, books } }),
    ...(livePeers === undefined ? {} : { livePeers }),
    ...(outputs.length === 0 ? {} : { outputs }),
  };
}
