import type { ContainerShape, PodTemplateShape, SidecarFragment } from './pod-shape.ts';

/** The template as its owner wrote it: without what the fragment added. What a changed sidecar is rendered for. */
export function stripFragment(template: PodTemplateShape, fragment: SidecarFragment): PodTemplateShape {
  const keep = <Item extends { readonly name: string }>(items: readonly Item[] | undefined, ours: readonly { readonly name: string }[]) =>
    items?.filter(({ name }) => !ours.some((item) => item.name === name));
  const without = (map: Readonly<Record<string, string>> | undefined, ours: Readonly<Record<string, string>>) =>
    map && Object.fromEntries(Object.entries(map).filter(([key]) => !(key in ours)));
  const { metadata, spec } = template;
  const labels = without(metadata?.labels, fragment.labels);
  const annotations = without(metadata?.annotations, fragment.annotations);
  const initContainers = keep(spec.initContainers, fragment.initContainers);
  const volumes = keep(spec.volumes, fragment.volumes);
  return {
    ...template,
    metadata: { ...metadata, ...(labels && { labels }), ...(annotations && { annotations }) },
    spec: {
      ...spec,
      ...(initContainers && { initContainers }),
      ...(volumes && { volumes }),
      containers: spec.containers.map((container) => withoutVariables(container, fragment)),
    },
  };
}

function withoutVariables(container: ContainerShape, { containers = [] }: SidecarFragment): ContainerShape {
  const ours = containers.find(({ name }) => name === container.name)?.env ?? [];
  if (ours.length === 0 || container.env === undefined) return container;
  return { ...container, env: container.env.filter(({ name }) => !ours.some((variable) => variable.name === name)) };
}
