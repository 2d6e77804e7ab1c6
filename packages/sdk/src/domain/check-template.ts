import { BifrostError, type BifrostErrorInit } from '@bifrost/types/core';
import { bookContainers } from './book-containers.ts';
import { CONTAINERS, LABELS, PORTS } from './names.ts';
import { USERS } from './own-users.ts';
import type { ContainerShape, PodTemplateShape, SidecarFragment } from './pod-shape.ts';

interface Place {
  readonly template: PodTemplateShape;
  /** What stands before each path: where the template lies in the caller's object. */
  readonly at: string;
}
interface Candidate extends Place {
  readonly fragment: SidecarFragment;
}
type Refusal = BifrostErrorInit | undefined;

const LISTS = ['containers', 'initContainers'] as const;

/** The first container for which `find` has a path below it, and what that is. */
function firstPath({ template, at }: Place, find: (container: ContainerShape) => string | undefined): string | undefined {
  for (const list of LISTS) {
    for (const [index, container] of (template.spec[list] ?? []).entries()) {
      const below = find(container);
      if (below !== undefined) return `${at}spec.${list}.${index}${below}`;
    }
  }
  return undefined;
}

function refuseHostNetwork({ template, at }: Place): Refusal {
  if (template.spec.hostNetwork !== true) return undefined;
  return {
    code: 'WORKLOAD_UNSUPPORTED',
    message: "The pod uses the node's network, where a sidecar would reroute the whole node: remove hostNetwork to attach it.",
    issues: [{ path: `${at}spec.hostNetwork`, message: 'must not be true' }],
  };
}

const userOf = (holder: unknown): unknown => ((holder ?? {}) as { readonly runAsUser?: unknown }).runAsUser;

/** In one process namespace the kernel tells processes apart by their user alone: whoever has the agent's could read its token in /proc. */
function refuseOwnUsers(candidate: Place): Refusal {
  const { template, at } = candidate;
  const { spec } = template;
  if (spec.shareProcessNamespace !== true && spec['hostPID'] !== true) return undefined;
  const ours: ReadonlySet<unknown> = new Set(Object.values(USERS));
  const theirs = new Set(bookContainers(template));
  const ofPod = ours.has(userOf(spec['securityContext'])) ? `${at}spec.securityContext.runAsUser` : undefined;
  const path =
    ofPod ??
    firstPath(candidate, (container) =>
      theirs.has(container) && ours.has(userOf(container['securityContext'])) ? '.securityContext.runAsUser' : undefined,
    );
  if (path === undefined) return undefined;
  return {
    code: 'WORKLOAD_UNSUPPORTED',
    message: `The pod shares its process namespace, and runs as a user of the sidecar (${[...ours].join(', ')}): it could read the sidecar's token. Run it as another user to attach it.`,
    issues: [{ path, message: 'is a user of the sidecar' }],
  };
}

/** The label alone is nobody's sidecar: whoever holds it is told of as the holder of any field is. */
function refuseOtherSidecar({ template, fragment, at }: Candidate): Refusal {
  const carried = template.metadata?.labels?.[LABELS.sidecarId];
  const hasAgent = template.spec.initContainers?.some(({ name }) => name === CONTAINERS.agent) === true;
  if (carried === undefined || carried === fragment.labels[LABELS.sidecarId] || !hasAgent) return undefined;
  return {
    code: 'SIDECAR_EXISTS',
    message: 'The pod carries the sidecar of another attachment: take that out first. A manifest with a sidecar in it serves one workload only.',
    issues: [{ path: `${at}metadata.labels.${LABELS.sidecarId}`, message: 'names another attachment' }],
    details: { sidecarId: carried },
  };
}

const looksLikeTailscale = ({ name, image, env }: ContainerShape): boolean =>
  name === 'tailscale' ||
  /(^|\/)tailscale(\/tailscale)?(:|@|$)/.test(image ?? '') ||
  (env ?? []).some((variable) => variable.name === 'TS_AUTHKEY' || variable.name === 'TS_KUBE_SECRET');

/** Also in the specification's own form, where it is a container like the book's. It cannot be adopted: its key, its state and its owner are somebody else's. */
function refuseHandMade(candidate: Candidate): Refusal {
  const path = firstPath(candidate, (container) => (looksLikeTailscale(container) ? '' : undefined));
  if (path === undefined) return undefined;
  return {
    code: 'SIDECAR_EXISTS',
    message:
      'The pod already has a Tailscale container that Bifrost did not make. Remove it with the volume of /dev/net/tun and the Secret that only it used, then attach: its TS_HOSTNAME, TS_ROUTES and --accept-routes are hostname, advertiseRoutes and acceptRoutes of the configuration.',
    issues: [{ path, message: 'a hand-made Tailscale sidecar' }],
  };
}

function refuseOwnNames(candidate: Candidate): Refusal {
  const { template, fragment, at } = candidate;
  const names = new Set(fragment.initContainers.map(({ name }) => name));
  const container = firstPath(candidate, ({ name }) => (names.has(name) ? '.name' : undefined));
  const index = (template.spec.volumes ?? []).findIndex(({ name }) => fragment.volumes.some((ours) => ours.name === name));
  const path = container ?? (index < 0 ? undefined : `${at}spec.volumes.${index}.name`);
  if (path === undefined) return undefined;
  return {
    code: 'FIELD_CONFLICT',
    message: `The pod has a ${container === undefined ? 'volume' : 'container'} of a name that the sidecar needs: rename it, then attach.`,
    issues: [{ path, message: 'this name is used by Bifrost' }],
  };
}

/** Containers of a pod share their ports: the book, which starts last, would find its own taken. */
function refuseOwnPorts(candidate: Candidate): Refusal {
  const taken: ReadonlySet<number> = new Set(Object.values(PORTS));
  const path = firstPath(candidate, ({ ports = [] }) => {
    const index = ports.findIndex(({ containerPort, protocol = 'TCP' }) => protocol === 'TCP' && taken.has(containerPort));
    return index < 0 ? undefined : `.ports.${index}.containerPort`;
  });
  if (path === undefined) return undefined;
  return {
    code: 'FIELD_CONFLICT',
    message: `The pod declares a port that the sidecar needs (TCP ${[...taken].join(', ')}): let the book listen on another, then attach.`,
    issues: [{ path, message: 'this port is used by Bifrost' }],
  };
}

function refuseOwnVariables(candidate: Candidate): Refusal {
  const wanted = new Map((candidate.fragment.containers ?? []).map(({ name, env }) => [name, new Set(env.map((variable) => variable.name))]));
  const path = firstPath(candidate, ({ name, env = [] }) => {
    const index = env.findIndex((variable) => wanted.get(name)?.has(variable.name) === true);
    return index < 0 ? undefined : `.env.${index}.name`;
  });
  if (path === undefined) return undefined;
  return {
    code: 'FIELD_CONFLICT',
    message: 'A container sets a proxy variable that the sidecar needs in userspace mode: remove it there, then attach.',
    issues: [{ path, message: 'this variable is set by Bifrost in userspace mode' }],
  };
}

const ALWAYS = [refuseHostNetwork, refuseOwnUsers, refuseOtherSidecar] as const;
/** What is not asked of a template that carries this very sidecar: there it would find the sidecar itself. */
const BEFORE_IT_IS_IN = [refuseHandMade, refuseOwnNames, refuseOwnPorts, refuseOwnVariables] as const;

/** Why this template can have no sidecar, with one in it or without; undefined where it can. What else an attach refuses is drift once it is in. */
export function unsupportedForm(template: PodTemplateShape): Refusal {
  const candidate = { template, at: 'spec.template.' };
  return refuseHostNetwork(candidate) ?? refuseOwnUsers(candidate);
}

/**
 * Refuses what can be seen in the template alone. `at` stands before each path, since a template may lie deeper in the caller's object.
 *
 * @throws {BifrostError} `WORKLOAD_UNSUPPORTED` — the pod shares the node's network, or its process namespace with one of our users;
 * `SIDECAR_EXISTS` — it carries a Tailscale container that is not ours, or another attachment's sidecar;
 * `FIELD_CONFLICT` — it has a container, volume, declared port or proxy variable that the sidecar needs.
 */
export function checkTemplate(template: PodTemplateShape, fragment: SidecarFragment, at = 'spec.template.'): void {
  const candidate = { template, fragment, at };
  const carriesIt = template.metadata?.labels?.[LABELS.sidecarId] === fragment.labels[LABELS.sidecarId];
  for (const refuse of carriesIt ? ALWAYS : [...ALWAYS, ...BEFORE_IT_IS_IN]) {
    const refusal = refuse(candidate);
    if (refusal !== undefined) throw new BifrostError(refusal);
  }
}
