import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type PatchOperation, type PatchSubject, planPrepend, planRemoval } from '../src/adapters/kubernetes/workload-patch.ts';
import { carries } from '../src/domain/carries.ts';
import type { PodTemplateShape, SidecarFragment } from '../src/domain/pod-shape.ts';

const FRAGMENT: SidecarFragment = {
  labels: { 'bifrost.dev/sidecar-id': 's' },
  annotations: { 'bifrost.dev/tailnet': 't', 'with~tilde': 'x' },
  initContainers: [
    { name: 'bifrost-agent', image: 'a' },
    { name: 'tailscale', image: 't', env: [{ name: 'A', value: '1' }] },
  ],
  volumes: [{ name: 'bifrost-state', emptyDir: {} }],
};
const own: PodTemplateShape = {
  metadata: { labels: { app: 'book' } },
  spec: { containers: [{ name: 'book' }], initContainers: [{ name: 'own', image: 'o' }], volumes: [{ name: 'own-volume', emptyDir: {} }] },
};

/** As much of RFC 6902 as a judge needs. */
function patched(template: PodTemplateShape, operations: readonly PatchOperation[]): PodTemplateShape {
  const root = structuredClone({ metadata: { uid: 'u', generation: 7 }, spec: { template } }) as Record<string, unknown>;
  for (const { op, path, value } of operations) {
    const keys = path
      .split('/')
      .slice(1)
      .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = keys.pop() ?? '';
    const parent = keys.reduce<Record<string, unknown>>((at, key) => at[key] as Record<string, unknown>, root);
    if (op === 'test') expect(parent[last], path).toEqual(value);
    else if (Array.isArray(parent)) {
      if (op === 'add') parent.splice(last === '-' ? parent.length : Number(last), 0, structuredClone(value));
      else parent.splice(Number(last), 1);
    } else if (op === 'add') parent[last] = structuredClone(value);
    else {
      expect(parent, path).toHaveProperty([last]);
      delete parent[last];
    }
  }
  return (root['spec'] as { template: PodTemplateShape }).template;
}

const fieldsOf = ({ labels, annotations, initContainers, volumes }: SidecarFragment): unknown => {
  const keys = (map: object): object => Object.fromEntries(Object.keys(map).map((key) => [`f:${key}`, {}]));
  const items = (list: readonly { name: string }[]): object =>
    Object.fromEntries(list.map(({ name }) => [`k:{"name":"${name}"}`, { '.': {}, 'f:name': {} }]));
  const spec = { 'f:initContainers': items(initContainers), 'f:volumes': items(volumes) };
  return { 'f:spec': { 'f:template': { 'f:metadata': { 'f:labels': keys(labels), 'f:annotations': keys(annotations) }, 'f:spec': spec } } };
};
const subject = (template: PodTemplateShape, ours?: SidecarFragment): PatchSubject => ({
  uid: 'u',
  generation: 7,
  template,
  managedFields: ours === undefined ? [] : [{ manager: 'bifrost', fieldsV1: fieldsOf(ours) }],
});

function attached(template: PodTemplateShape, fragment: SidecarFragment, before?: SidecarFragment): PodTemplateShape {
  const plan = planPrepend(subject(template, before), fragment);
  expect(plan.kind).toBe('patch');
  return plan.kind === 'patch' ? patched(template, plan.operations) : template;
}

describe('prepend by JSON Patch', () => {
  it('begins with a test of uid and generation and puts ours first', () => {
    const plan = planPrepend(subject(own), FRAGMENT);
    if (plan.kind !== 'patch') throw new Error(plan.kind);
    expect(plan.operations.slice(0, 2)).toEqual([
      { op: 'test', path: '/metadata/uid', value: 'u' },
      { op: 'test', path: '/metadata/generation', value: 7 },
    ]);
    const after = attached(own, FRAGMENT);
    expect(after.spec.initContainers?.map(({ name }) => name)).toEqual(['bifrost-agent', 'tailscale', 'own']);
    expect(after.metadata?.annotations).toEqual(FRAGMENT.annotations);
    expect(carries(after, FRAGMENT)).toBe(true);
  });

  it('what is in already, with whatever defaults the server added, is no patch', () => {
    const after = attached(own, FRAGMENT);
    const [first = { name: '' }, ...rest] = after.spec.initContainers ?? [];
    const defaulted = { ...after, spec: { ...after.spec, initContainers: [{ ...first, imagePullPolicy: 'Always' }, ...rest] } };
    expect(planPrepend(subject(defaulted), FRAGMENT)).toEqual({ kind: 'present' });
  });

  it('a changed fragment replaces the old one whole', () => {
    const smaller: SidecarFragment = { labels: FRAGMENT.labels, annotations: {}, initContainers: [{ name: 'tailscale', image: 'new' }], volumes: [] };
    const after = attached(attached(own, FRAGMENT), smaller, FRAGMENT);
    expect(after.spec.initContainers).toEqual([
      { name: 'tailscale', image: 'new' },
      { name: 'own', image: 'o' },
    ]);
    expect(after.spec.volumes).toEqual(own.spec.volumes);
    expect(after.metadata).toEqual({ labels: { app: 'book', ...FRAGMENT.labels }, annotations: {} });
  });

  it('a stranger’s container, volume or label of our name is a conflict with its manager and path', () => {
    const theirs = { ...FRAGMENT, labels: {}, annotations: {}, initContainers: [{ name: 'tailscale' }], volumes: [] };
    const template = { ...own, spec: { ...own.spec, initContainers: [{ name: 'tailscale', image: 'hand-made' }] } };
    const managedFields = [{ manager: 'helm', fieldsV1: fieldsOf(theirs) }];
    expect(planPrepend({ uid: 'u', generation: 7, template, managedFields }, FRAGMENT)).toEqual({
      kind: 'conflict',
      manager: 'helm',
      paths: ['spec.template.spec.initContainers[name="tailscale"]'],
    });
    const labelled = { ...own, metadata: { labels: { 'bifrost.dev/sidecar-id': 'other' } } };
    expect(planPrepend(subject(labelled), FRAGMENT)).toMatchObject({
      kind: 'conflict',
      paths: ['spec.template.metadata.labels.bifrost.dev/sidecar-id'],
    });
  });

  it('removal leaves what others own, and is nothing when nothing of ours is there', () => {
    expect(planRemoval(subject(own, FRAGMENT), FRAGMENT)).toEqual([]);
    const kept = { ...own, metadata: { ...own.metadata, annotations: { ...FRAGMENT.annotations } } };
    expect(planRemoval(subject(kept), FRAGMENT)).toEqual([]);
  });

  it('removal still works after somebody cleared managedFields', () => {
    const after = attached(own, FRAGMENT);
    expect(patched(after, planRemoval(subject(after), FRAGMENT))).toEqual(own);
  });

  it('attach then detach gives back any template, byte for byte', () => {
    const name = fc.stringMatching(/^own-[a-z]{1,4}$/);
    const map = fc.option(fc.dictionary(name, fc.string(), { minKeys: 1, maxKeys: 3 }), { nil: undefined });
    const items = fc.option(fc.uniqueArray(fc.record({ name, image: fc.string() }), { selector: (item) => item.name, minLength: 1, maxLength: 4 }), {
      nil: undefined,
    });
    fc.assert(
      fc.property(map, map, items, items, (labels, annotations, initContainers, volumes) => {
        const template = JSON.parse(
          JSON.stringify({ metadata: { labels, annotations }, spec: { initContainers, volumes, containers: [{ name: 'book' }] } }),
        ) as PodTemplateShape;
        const after = attached(template, FRAGMENT);
        expect(JSON.stringify(patched(after, planRemoval(subject(after, FRAGMENT), FRAGMENT)))).toBe(JSON.stringify(template));
      }),
      { numRuns: 200 },
    );
  });
});
