import { BifrostError } from '@bifrost/types/core';
import type { AttachForm } from './model.ts';
import { LABELS } from './names.ts';
import type { ContainerShape, PodTemplateShape, SidecarFragment } from './pod-shape.ts';

/**
 * How the fragment goes into this pod template. Server-side apply appends init containers after existing ones, but ours must start first:
 * where the pod has its own, ours are prepended by JSON Patch.
 */
export function chooseForm(template: PodTemplateShape): AttachForm {
  const foreign = (template.spec.initContainers ?? []).filter(({ name }) => !isOurs(template, name));
  return foreign.length > 0 ? 'prepend' : 'apply';
}

const isOurs = (template: PodTemplateShape, containerName: string): boolean =>
  template.metadata?.labels?.[LABELS.sidecarId] !== undefined && (containerName.startsWith('bifrost-') || containerName === 'tailscale');

const looksLikeTailscale = ({ name, image, env }: ContainerShape): boolean =>
  name === 'tailscale' ||
  /(^|\/)tailscale(\/tailscale)?(:|@|$)/.test(image ?? '') ||
  (env ?? []).some((variable) => variable.name === 'TS_AUTHKEY' || variable.name === 'TS_KUBE_SECRET');

/**
 * Refuses what can be seen in the template alone.
 *
 * @throws {BifrostError} `WORKLOAD_UNSUPPORTED` — the pod shares the node's network; `SIDECAR_EXISTS` — it carries a Tailscale container that is not ours;
 * `FIELD_CONFLICT` — it has a container or volume of one of our names.
 */
export function checkTemplate(template: PodTemplateShape, fragment: SidecarFragment): void {
  if (template.spec.hostNetwork === true) {
    throw new BifrostError({
      code: 'WORKLOAD_UNSUPPORTED',
      message: "The pod uses the node's network, where a sidecar would reroute the whole node: remove hostNetwork to attach it.",
      issues: [{ path: 'spec.template.spec.hostNetwork', message: 'must not be true' }],
    });
  }
  if (template.metadata?.labels?.[LABELS.sidecarId] === fragment.labels[LABELS.sidecarId]) return;
  const places = [
    ['containers', template.spec.containers],
    ['initContainers', template.spec.initContainers ?? []],
  ] as const;
  for (const [place, containers] of places) {
    const index = containers.findIndex(looksLikeTailscale);
    if (index >= 0) {
      throw new BifrostError({
        code: 'SIDECAR_EXISTS',
        message: 'The pod already has a Tailscale container that Bifrost did not make: remove it, then attach.',
        issues: [{ path: `spec.template.spec.${place}.${index}`, message: 'a hand-made Tailscale sidecar' }],
      });
    }
  }
  const names = new Set(fragment.initContainers.map(({ name }) => name));
  for (const [place, containers] of places) {
    const index = containers.findIndex(({ name }) => names.has(name));
    if (index >= 0) {
      throw new BifrostError({
        code: 'FIELD_CONFLICT',
        message: 'The pod has a container of a name that the sidecar needs: rename it, then attach.',
        issues: [{ path: `spec.template.spec.${place}.${index}.name`, message: 'this name is used by Bifrost' }],
      });
    }
  }
  const volume = (template.spec.volumes ?? []).findIndex(({ name }) => fragment.volumes.some((ours) => ours.name === name));
  if (volume >= 0) {
    throw new BifrostError({
      code: 'FIELD_CONFLICT',
      message: 'The pod has a volume of the name that the sidecar needs: rename it, then attach.',
      issues: [{ path: `spec.template.spec.volumes.${volume}.name`, message: 'this name is used by Bifrost' }],
    });
  }
}

/** The template as it will be with the fragment: what `planAttach` shows, and what a dry-run pod is made of. What is in already is not doubled. */
export function withFragment(template: PodTemplateShape, fragment: SidecarFragment): PodTemplateShape {
  const without = <Item extends { readonly name: string }>(items: readonly Item[] | undefined, ours: readonly Item[]): readonly Item[] =>
    (items ?? []).filter(({ name }) => !ours.some((item) => item.name === name));
  return {
    ...template,
    metadata: {
      ...template.metadata,
      labels: { ...template.metadata?.labels, ...fragment.labels },
      annotations: { ...template.metadata?.annotations, ...fragment.annotations },
    },
    spec: {
      ...template.spec,
      initContainers: [...fragment.initContainers, ...without(template.spec.initContainers, fragment.initContainers)],
      volumes: [...without(template.spec.volumes, fragment.volumes), ...fragment.volumes],
    },
  };
}
