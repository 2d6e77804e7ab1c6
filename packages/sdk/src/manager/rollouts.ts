import type { Rollout } from '@bifrost/types/core';
import type { StoredSidecar } from '../domain/model.ts';
import { CONTAINERS } from '../domain/names.ts';
import type { SidecarFragment } from '../domain/pod-shape.ts';
import { sameJson } from './same-json.ts';

/** What a change of a tailnet's networks changes in a sidecar: its guard; in userspace mode the variables of the book's containers. */
export const changedByNetwork = ({ spec: { networkMode, fragment } }: StoredSidecar): readonly string[] =>
  networkMode === 'userspace' ? (fragment.containers ?? []).map(({ name }) => name) : [CONTAINERS.guard];

export const rolloutOf = ({ spec }: StoredSidecar, changed: readonly string[]): Rollout => ({
  sidecarId: spec.sidecarId,
  bookDeploymentId: spec.bookDeploymentId,
  workload: spec.workload,
  changed,
});

/** Names of the containers and volumes in which two fragments differ; `metadata` stands for labels and annotations. */
export function differencesOf(before: SidecarFragment, now: SidecarFragment): readonly string[] {
  const lists = (['initContainers', 'containers', 'volumes'] as const).flatMap((list) => {
    const names = new Set([...(before[list] ?? []), ...(now[list] ?? [])].map(({ name }) => name));
    const find = (fragment: SidecarFragment, wanted: string) => (fragment[list] ?? []).find(({ name }) => name === wanted);
    return [...names].filter((name) => !sameJson(find(before, name), find(now, name)));
  });
  const isSame = sameJson(before.labels, now.labels) && sameJson(before.annotations, now.annotations);
  return [...new Set([...lists, ...(isSame || lists.length > 0 ? [] : ['metadata'])])].sort();
}
