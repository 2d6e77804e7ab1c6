import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { holdersOf, lastWriterOf } from '../src/adapters/kubernetes/workload-fields.ts';
import { type PatchOperation, type PatchSubject, planPrepend, planRemoval, planTidy } from '../src/adapters/kubernetes/workload-patch.ts';
import { areOurs, placesOf } from '../src/adapters/kubernetes/workload-places.ts';
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

const fieldsOf = ({ labels, annotations, initContainers, volumes, containers = [] }: SidecarFragment): unknown => {
  const keys = (map: object): object => Object.fromEntries(Object.keys(map).map((key) => [`f:${key}`, {}]));
  const items = (list: readonly { name: string }[]): object =>
    Object.fromEntries(list.map(({ name }) => [`k:{"name":"${name}"}`, { '.': {}, 'f:name': {} }]));
  const books = Object.fromEntries(containers.map(({ name, env }) => [`k:{"name":"${name}"}`, { 'f:env': items(env) }]));
  const spec = { 'f:initContainers': { ...items(initContainers), ...books }, 'f:volumes': items(volumes), 'f:containers': books };
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
        const containers = [{ name: 'book' }, { name: 'other', env: [{ name: 'A', value: '1' }] }];
        const template = JSON.parse(
          JSON.stringify({ metadata: { labels, annotations }, spec: { initContainers, volumes, containers } }),
        ) as PodTemplateShape;
        const env = [{ name: 'HTTP_PROXY', value: 'x' }];
        const fragment = { ...FRAGMENT, containers: [...containers, ...(initContainers ?? []), { name: 'gone' }].map(({ name }) => ({ name, env })) };
        const after = attached(template, fragment);
        expect(carries(after, fragment)).toBe(true);
        expect(JSON.stringify(patched(after, planRemoval(subject(after, fragment), fragment)))).toBe(JSON.stringify(template));
      }),
      { numRuns: 200 },
    );
  });
});

describe('what others hold inside items of ours', () => {
  const OURS = { manager: 'bifrost', fieldsV1: fieldsOf(FRAGMENT) };
  const item = (list: string, name: string, held: object): unknown => ({
    'f:spec': { 'f:template': { 'f:spec': { [`f:${list}`]: { [`k:{"name":"${name}"}`]: held } } } },
  });
  const edited: PodTemplateShape = {
    ...own,
    spec: {
      ...own.spec,
      initContainers: [
        { name: 'bifrost-agent', image: 'a' },
        { name: 'tailscale', image: 'other', command: ['x'], env: [{ name: 'B' }, { name: 'A', value: '2' }, { name: 'C' }] },
        { name: 'own', image: 'o' },
      ],
    },
  };
  const theirs = {
    'f:image': {},
    'f:command': {},
    'f:env': { 'k:{"name":"B"}': { '.': {}, 'f:name': {} }, 'k:{"name":"A"}': { 'f:value': {} }, 'k:{"name":"C"}': { '.': {}, 'f:name': {} } },
  };
  const managedFields = [OURS, { manager: 'kubectl-edit', fieldsV1: item('initContainers', 'tailscale', theirs) }];
  const seen: PatchSubject = { uid: 'u', generation: 7, template: edited, managedFields };

  it('what they added is taken out, the last of a list first; what they changed is for the apply', () => {
    const operations = planTidy(seen, FRAGMENT);
    expect(operations.slice(2).map(({ op, path }) => `${op} ${path}`)).toEqual([
      'remove /spec/template/spec/initContainers/1/env/2',
      'remove /spec/template/spec/initContainers/1/env/0',
      'remove /spec/template/spec/initContainers/1/command',
    ]);
    expect(patched(edited, operations).spec.initContainers?.[1]).toEqual({ name: 'tailscale', image: 'other', env: [{ name: 'A', value: '2' }] });
    expect(planTidy({ ...seen, managedFields: [OURS] }, FRAGMENT)).toEqual([]);
  });

  it('a patch without repair names each of them; with it, all is as the fragment has it', () => {
    expect(planPrepend(seen, FRAGMENT)).toEqual({
      kind: 'conflict',
      manager: 'kubectl-edit',
      paths: [
        'spec.template.spec.initContainers[name="tailscale"].image',
        'spec.template.spec.initContainers[name="tailscale"].command',
        'spec.template.spec.initContainers[name="tailscale"].env[name="B"]',
        'spec.template.spec.initContainers[name="tailscale"].env[name="A"].value',
        'spec.template.spec.initContainers[name="tailscale"].env[name="C"]',
      ],
    });
    const plan = planPrepend(seen, FRAGMENT, { repair: true });
    expect(plan.kind === 'patch' && carries(patched(edited, plan.operations), FRAGMENT)).toBe(true);
  });

  it('only paths in items that we made, and keys of our own name space, may be taken by force', () => {
    const holders = holdersOf(managedFields);
    const may = (...paths: string[]): boolean => areOurs(paths, holders, { places: placesOf(edited, FRAGMENT), fragment: FRAGMENT });
    const [image, label] = ['spec.template.spec.initContainers[name="tailscale"].image', 'spec.template.metadata.labels.bifrost.dev/sidecar-id'];
    expect(may(image, label)).toBe(true);
    expect(may()).toBe(false);
    for (const path of [
      'spec.replicas',
      'spec.template.spec.initContainers[name="own"].image',
      'spec.template.metadata.annotations.with~tilde',
      `${image.replace('"]', '-2"]')}`,
    ])
      expect(may(image, path), path).toBe(false);
    const stranger = holdersOf([{ manager: 'helm', fieldsV1: fieldsOf(FRAGMENT) }]);
    expect(areOurs([image], stranger, { places: placesOf(edited, FRAGMENT), fragment: FRAGMENT })).toBe(false);
  });

  it('an item that somebody else has stated with its image stays; one of which they hold the name only goes', () => {
    const shared = (held: object) => ({ ...seen, managedFields: [OURS, { manager: 'helm', fieldsV1: item('initContainers', 'tailscale', held) }] });
    const left = (of: PatchSubject) => patched(edited, planRemoval(of, FRAGMENT)).spec.initContainers?.map(({ name }) => name);
    expect(left(shared({ '.': {}, 'f:name': {}, 'f:image': {} }))).toEqual(['tailscale', 'own']);
    expect(left(shared({ '.': {}, 'f:name': {} }))).toEqual(['own']);
    expect(left(shared({ 'f:image': {} }))).toEqual(['own']);
  });
});

describe('lastWriterOf', () => {
  const template = { 'f:spec': { 'f:template': { 'f:spec': {} } } };
  const entry = (manager: string, second: number, parts: object = {}) => ({
    manager,
    time: `2026-01-01T00:00:0${second}Z`,
    fieldsV1: template,
    ...parts,
  });
  it.each([
    ['nobody', [], undefined],
    ['us alone', [entry('bifrost', 1)], undefined],
    ['the newest', [entry('helm', 1), entry('kubectl-edit', 3), entry('argo', 2)], 'kubectl-edit'],
    ['of two in one second the later entry', [entry('helm', 1), entry('argo', 1)], 'argo'],
    ['who wrote after us', [entry('helm', 1), entry('bifrost', 2), entry('kubectl-edit', 3)], 'kubectl-edit'],
    ['who left no trace after us', [entry('helm', 1), entry('bifrost', 2)], 'unknown'],
    ['another in our second', [entry('helm', 2), entry('bifrost', 2)], 'helm'],
    ['a CronJob’s template', [entry('helm', 1, { fieldsV1: { 'f:spec': { 'f:jobTemplate': { 'f:spec': { 'f:template': {} } } } } })], 'helm'],
    ['no writer of status', [entry('helm', 1), entry('kube-controller-manager', 5, { subresource: 'status' })], 'helm'],
    ['no scaler', [entry('helm', 1), entry('hpa', 5, { subresource: 'scale', fieldsV1: { 'f:spec': { 'f:replicas': {} } } })], 'helm'],
    ['no writer of replicas', [entry('helm', 1), entry('script', 5, { fieldsV1: { 'f:spec': { 'f:replicas': {} } } })], 'helm'],
    ['no annotator', [entry('helm', 1), entry('kubectl-annotate', 5, { fieldsV1: { 'f:metadata': { 'f:annotations': {} } } })], 'helm'],
    ['one without a name', [entry('', 1)], 'unknown'],
  ])('%s', (_, managedFields, expected) => {
    expect(lastWriterOf(managedFields)).toBe(expected);
  });

  it('who took the last of our fields away is unknown as long as we remember that we wrote', () => {
    expect(lastWriterOf([entry('helm', 1)], '2026-01-01T00:00:05Z')).toBe('unknown');
    expect(lastWriterOf([entry('helm', 1), entry('kubectl-edit', 6)], '2026-01-01T00:00:05Z')).toBe('kubectl-edit');
    expect(lastWriterOf([entry('helm', 1)])).toBe('helm');
  });
});
