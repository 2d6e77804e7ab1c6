import type { AttachForm } from './model.ts';
import { CONTAINERS, LABELS, VOLUMES } from './names.ts';
import type { ContainerShape, EnvironmentVariable, PodTemplateShape, SidecarFragment } from './pod-shape.ts';
import { PROXY_VARIABLES } from './proxy-variables.ts';

export { checkTemplate } from './check-template.ts';

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

/** The template as it will be with the fragment: what `planAttach` shows, and what a dry-run pod is made of. What is in already is not doubled. */
export function withFragment(template: PodTemplateShape, fragment: SidecarFragment): PodTemplateShape {
  const carried = template.metadata?.labels?.[LABELS.sidecarId];
  const { metadata, spec } = carried === fragment.labels[LABELS.sidecarId] ? withoutSidecar(template) : template;
  const initContainers = without(spec.initContainers, new Set(fragment.initContainers.map(({ name }) => name)));
  const volumes = without(spec.volumes, new Set(fragment.volumes.map(({ name }) => name)));
  const additions = new Map((fragment.containers ?? []).map(({ name, env }) => [name, env]));
  const added = (container: ContainerShape): ContainerShape => withVariables(container, additions.get(container.name) ?? []);
  return {
    ...template,
    metadata: {
      ...metadata,
      labels: { ...metadata?.labels, ...fragment.labels },
      annotations: { ...metadata?.annotations, ...fragment.annotations },
    },
    spec: {
      ...spec,
      initContainers: [...fragment.initContainers, ...initContainers.map(added)],
      containers: spec.containers.map(added),
      volumes: [...volumes, ...fragment.volumes],
    },
  };
}

const without = <Item extends { readonly name: string }>(items: readonly Item[] | undefined, names: ReadonlySet<string>): readonly Item[] =>
  (items ?? []).filter(({ name }) => !names.has(name));

function withVariables(container: ContainerShape, variables: readonly EnvironmentVariable[]): ContainerShape {
  if (variables.length === 0) return container;
  return { ...container, env: [...without(container.env, new Set(variables.map(({ name }) => name))), ...variables] };
}

const OUR_CONTAINERS: ReadonlySet<string> = new Set(Object.values(CONTAINERS));
const OUR_VOLUMES: ReadonlySet<string> = new Set(Object.values(VOLUMES));
const OUR_ANNOTATIONS: ReadonlySet<string> = new Set([LABELS.tailnetName, LABELS.fragment]);

/** The template without its sidecar, whichever fragment that was; lists and maps that it alone filled go too. One without our label comes back as it is. */
export function withoutSidecar(template: PodTemplateShape): PodTemplateShape {
  if (template.metadata?.labels?.[LABELS.sidecarId] === undefined) return template;
  const { metadata, spec, ...others } = template;
  const { labels, annotations, ...names } = metadata;
  const { initContainers, volumes, containers, ...rest } = spec;
  const proxy = proxyOf(template);
  const bare = (container: ContainerShape): ContainerShape => withoutProxy(container, proxy);
  const kept = {
    ...names,
    ...left('labels', labels, omitted(labels, new Set([LABELS.sidecarId]))),
    ...left('annotations', annotations, omitted(annotations, OUR_ANNOTATIONS)),
  };
  return {
    ...others,
    ...left('metadata', metadata, kept),
    spec: {
      ...rest,
      ...left('initContainers', initContainers, without(initContainers, OUR_CONTAINERS).map(bare)),
      containers: containers.map(bare),
      ...left('volumes', volumes, without(volumes, OUR_VOLUMES)),
    },
  };
}

const omitted = (map: Readonly<Record<string, string>> | undefined, ours: ReadonlySet<string>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(map ?? {}).filter(([key]) => !ours.has(key)));

/** The member as it is afterwards; none when nothing was there, or when all that was there is gone. */
const left = <Name extends string, Value extends object>(name: Name, before: object | undefined, after: Value): { readonly [key in Name]?: Value } =>
  before === undefined || (Object.keys(after).length === 0 && Object.keys(before).length > 0) ? {} : ({ [name]: after } as { [key in Name]: Value });

/** The address of the proxy that this template's sidecar serves; undefined in kernel mode. */
const proxyOf = ({ spec }: PodTemplateShape): string | undefined =>
  spec.initContainers?.find(({ name }) => name === CONTAINERS.tailscale)?.env?.find(({ name }) => name === 'TS_SOCKS5_SERVER')?.value;

/** Variables that lead to our proxy are ours, and in a container that has them so are its exceptions. Others of these names are the book's. */
function withoutProxy(container: ContainerShape, proxy: string | undefined): ContainerShape {
  const { env, ...others } = container;
  if (proxy === undefined || !env?.some(({ value }) => value?.endsWith(`//${proxy}`))) return container;
  const left = env.filter(({ name }) => !PROXY_VARIABLES.includes(name));
  return { ...others, ...(left.length === 0 ? {} : { env: left }) };
}
