import { CONTAINERS } from './names.ts';
import type { ContainerShape, PodForm, PodTemplateShape } from './pod-shape.ts';

/** Of the guard what decides what it does; an API server adds mounts whose names differ with each pod. */
const GUARD = ['image', 'command', 'args', 'env', 'restartPolicy', 'securityContext', 'lifecycle'] as const;
/** Of others: their variables and commands are for nobody to keep. */
const OTHERS = ['securityContext'] as const;

function kept(container: ContainerShape): ContainerShape {
  const members: readonly string[] = container.name === CONTAINERS.guard ? GUARD : OTHERS;
  return { name: container.name, ...Object.fromEntries(Object.entries(container).filter(([member]) => members.includes(member))) };
}

/** Of what runs in a pod what decides over its network. Whoever debugs a pod adds containers to it; no template has such. */
export const podFormOf = ({ initContainers, containers, hostNetwork, ephemeralContainers }: PodTemplateShape['spec']): PodForm => ({
  initContainers: (initContainers ?? []).map(kept),
  containers: [...containers, ...((ephemeralContainers ?? []) as readonly ContainerShape[])].map(kept),
  hostNetwork: hostNetwork === true,
});
