import { BifrostError } from '@bifrost/types/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { injectSidecar, stripSidecar } from '../src/domain/inject-sidecar.ts';
import type { PodTemplateShape } from '../src/domain/pod-shape.ts';
import { type RenderInput, renderSidecar } from '../src/domain/render-sidecar.ts';
import { renderInput } from './support/render-input.ts';

const container = { name: 'import', image: 'registry.example/import:1', env: [{ name: 'MODE', value: 'full' }] };
const template: PodTemplateShape = {
  metadata: { labels: { app: 'import' } },
  spec: {
    restartPolicy: 'Never',
    initContainers: [{ name: 'migrate', image: 'registry.example/migrate:1' }],
    containers: [container],
    volumes: [{ name: 'data', emptyDir: {} }],
  },
};
const metadata = { name: 'import', namespace: 'acme' };
const manifests = {
  Pod: { apiVersion: 'v1', kind: 'Pod', metadata: { ...metadata, ...template.metadata }, spec: template.spec },
  Deployment: { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec: { replicas: 2, template } },
  StatefulSet: { apiVersion: 'apps/v1', kind: 'StatefulSet', metadata, spec: { serviceName: 'import', template } },
  DaemonSet: { apiVersion: 'apps/v1', kind: 'DaemonSet', metadata, spec: { template } },
  ReplicaSet: { apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata, spec: { template } },
  Job: { apiVersion: 'batch/v1', kind: 'Job', metadata, spec: { backoffLimit: 3, template } },
  CronJob: { apiVersion: 'batch/v1', kind: 'CronJob', metadata, spec: { schedule: '0 3 * * *', jobTemplate: { metadata: {}, spec: { template } } } },
} as const;
const KINDS = Object.keys(manifests) as (keyof typeof manifests)[];
const PLACES: Readonly<Record<string, string>> = { Pod: '', CronJob: 'spec.jobTemplate.spec.template.' };
const placeOf = (kind: string): string => PLACES[kind] ?? 'spec.template.';

const kernel = renderSidecar(renderInput);
const userspaceOf = (of: PodTemplateShape, change: Partial<RenderInput> = {}) =>
  renderSidecar({ ...renderInput, networkMode: 'userspace', template: of, ...change });

function refusal(act: () => unknown): BifrostError {
  try {
    act();
  } catch (error) {
    if (BifrostError.is(error)) return error;
    throw error;
  }
  throw new BifrostError({ code: 'INTERNAL', message: 'it was not refused' });
}
const withTemplate = (kind: keyof typeof manifests, change: (template: PodTemplateShape) => PodTemplateShape): (typeof manifests)['Job'] =>
  JSON.parse(JSON.stringify(manifests[kind]).replace(JSON.stringify(template), () => JSON.stringify(change(template))));

describe('injectSidecar', () => {
  it.each(KINDS)('puts the sidecar into a %s as in the golden file, ours first, and leaves the caller’s own object alone', async (kind) => {
    const before = structuredClone(manifests[kind]);
    const injected = injectSidecar(manifests[kind], kernel);
    expect(manifests[kind]).toEqual(before);
    if (kind === 'Job' || kind === 'CronJob' || kind === 'Pod')
      await expect(`${JSON.stringify(injected, null, 2)}\n`).toMatchFileSnapshot(`./golden/injected-${kind.toLowerCase()}.json`);
    const at = placeOf(kind)
      .split('.')
      .filter((member) => member !== '');
    const { spec, metadata } = at.reduce<unknown>((value, member) => (value as Record<string, unknown>)[member], injected) as PodTemplateShape;
    expect(spec.initContainers?.map(({ name }) => name)).toEqual(['bifrost-guard', 'bifrost-agent', 'tailscale', 'migrate']);
    expect(spec.containers).toEqual([container]);
    expect(metadata).toMatchObject({ labels: { app: 'import', ...kernel.labels }, annotations: kernel.annotations });
  });

  it.each(KINDS)('again gives the same %s, and stripped it is what it was', (kind) => {
    for (const fragment of [kernel, userspaceOf(template)]) {
      const injected = injectSidecar(manifests[kind], fragment);
      expect(injectSidecar(injected, fragment)).toEqual(injected);
      expect(stripSidecar(injected)).toEqual(manifests[kind]);
    }
    expect(stripSidecar(manifests[kind])).toEqual(manifests[kind]);
  });

  it('puts a later fragment of the same sidecar in the place of an earlier one, from kernel mode to userspace and back', () => {
    const userspace = userspaceOf(template);
    const direct = injectSidecar(manifests.Job, userspace);
    expect(injectSidecar(injectSidecar(manifests.Job, kernel), userspace)).toEqual(direct);
    expect(injectSidecar(direct, kernel)).toEqual(injectSidecar(manifests.Job, kernel));
    const moved = userspaceOf({ spec: { containers: [{ ...container, ports: [{ containerPort: 1055 }] }] } });
    expect(JSON.stringify(injectSidecar(direct, moved))).not.toContain('127.0.0.1:1055');
  });

  it('inject, then strip, gives back any manifest', () => {
    const name = fc.stringMatching(/^own-[a-z]{1,4}$/);
    const map = fc.option(fc.dictionary(name, fc.string(), { minKeys: 1, maxKeys: 3 }), { nil: undefined });
    const variables = fc.option(
      fc.uniqueArray(fc.record({ name: fc.constantFrom('A', 'B', 'HTTP_PROXIES'), value: fc.string() }), {
        selector: (one) => one.name,
        minLength: 1,
      }),
      { nil: undefined },
    );
    const containers = fc.uniqueArray(fc.record({ name, image: fc.string(), env: variables }), {
      selector: (item) => item.name,
      minLength: 1,
      maxLength: 4,
    });
    const volumes = fc.option(fc.uniqueArray(fc.record({ name, emptyDir: fc.constant({}) }), { selector: (item) => item.name, minLength: 1 }), {
      nil: undefined,
    });
    const parts = fc.record({
      labels: map,
      annotations: map,
      initContainers: fc.option(containers, { nil: undefined }),
      containers,
      volumes,
      userspace: fc.boolean(),
      kind: fc.constantFrom(...KINDS),
    });
    fc.assert(
      fc.property(parts, ({ labels, annotations, userspace, kind, ...spec }) => {
        const others = (labels ?? annotations) ? { metadata: { labels, annotations } } : {};
        const own = JSON.parse(JSON.stringify({ ...others, spec: { ...spec, securityContext: {}, restartPolicy: 'Never' } })) as PodTemplateShape;
        const manifest = withTemplate(kind === 'Pod' ? 'Job' : kind, () => own);
        const injected = injectSidecar(manifest, userspace ? userspaceOf(own) : kernel);
        expect(JSON.stringify(sorted(stripSidecar(injected)))).toBe(JSON.stringify(sorted(manifest)));
      }),
      { numRuns: 200 },
    );
  });

  it('in kernel mode the book’s own proxy variables are its own', () => {
    const proxied = withTemplate('Job', (own) => ({
      ...own,
      spec: { ...own.spec, containers: [{ ...container, env: [{ name: 'HTTP_PROXY', value: 'http://proxy:3128' }] }] },
    }));
    expect(stripSidecar(injectSidecar(proxied, kernel))).toEqual(proxied);
  });
});

const sorted = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, member: unknown) =>
      typeof member === 'object' && member !== null && !Array.isArray(member)
        ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
        : member,
    ),
  );

describe('injectSidecar refuses', () => {
  const change = (spec: object) => (own: PodTemplateShape) => ({ ...own, spec: { ...own.spec, ...spec } });
  const cases: readonly [string, object, string, string][] = [
    ['the node’s network', { hostNetwork: true }, 'WORKLOAD_UNSUPPORTED', 'spec.hostNetwork'],
    ['a Tailscale container of somebody else', { containers: [{ name: 'tailscale' }] }, 'SIDECAR_EXISTS', 'spec.containers.0'],
    ['a volume of our name', { volumes: [{ name: 'bifrost-key' }] }, 'FIELD_CONFLICT', 'spec.volumes.0.name'],
    [
      'a declared port of ours',
      { containers: [container, { name: 'b', ports: [{ containerPort: 80 }, { containerPort: 9003 }] }] },
      'FIELD_CONFLICT',
      'spec.containers.1.ports.1.containerPort',
    ],
    [
      'our user in one process namespace',
      { shareProcessNamespace: true, containers: [{ ...container, securityContext: { runAsUser: 60931 } }] },
      'WORKLOAD_UNSUPPORTED',
      'spec.containers.0.securityContext.runAsUser',
    ],
  ];
  it.each(cases.flatMap((each) => (['Deployment', 'DaemonSet', 'CronJob'] as const).map((kind) => [kind, ...each] as const)))(
    'in a %s %s, with the path in it',
    (kind, _, spec, code, path) => {
      const error = refusal(() => injectSidecar(withTemplate(kind, change(spec)), kernel));
      expect(error).toMatchObject({ code, issues: [{ path: placeOf(kind) + path }] });
    },
  );

  it('a proxy variable that the book sets, in userspace mode only', () => {
    for (const name of ['HTTP_PROXY', 'no_proxy']) {
      const own = change({ containers: [{ ...container, env: [...container.env, { name, value: 'x' }] }] })(template);
      const manifest = withTemplate('Job', () => own);
      const error = refusal(() => injectSidecar(manifest, userspaceOf(own)));
      expect(error).toMatchObject({ code: 'FIELD_CONFLICT', issues: [{ path: 'spec.template.spec.containers.0.env.1.name' }] });
      expect(error.message).not.toContain('"x"');
      injectSidecar(manifest, kernel);
    }
  });

  it('a manifest that carries another attachment’s sidecar', () => {
    const other = renderSidecar({ ...renderInput, sidecarId: '11111111-0000-8000-8000-000000000000' });
    const error = refusal(() => injectSidecar(injectSidecar(manifests.Job, other), kernel));
    expect(error).toMatchObject({ code: 'SIDECAR_EXISTS', issues: [{ path: 'spec.template.metadata.labels.bifrost.dev/sidecar-id' }] });
  });

  it.each([
    [{ kind: 'Service', spec: {} }, 'kind'],
    [{ kind: 'toString', spec: {} }, 'kind'],
    [{}, 'kind'],
    [{ kind: 'Job' }, 'spec.template.spec.containers'],
    [{ kind: 'CronJob', spec: { template } }, 'spec.jobTemplate.spec.template.spec.containers'],
    [{ kind: 'Pod', spec: { containers: 'one' } }, 'spec.containers'],
  ])('%j, which has no pod template', (manifest, path) => {
    for (const act of [() => injectSidecar(manifest, kernel), () => stripSidecar(manifest)])
      expect(refusal(act)).toMatchObject({ code: 'WORKLOAD_UNSUPPORTED', issues: [{ path }] });
  });

  it('the specification’s own sidecar, and says what to do with it', () => {
    // "Sidecar Container Configuration" of the specification, as it is there.
    const specified = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'book-with-tailscale', namespace: 'customer-acme' },
      spec: {
        template: {
          spec: {
            containers: [
              { name: 'book-app', image: 'customer-book:latest' },
              {
                name: 'tailscale',
                image: 'tailscale/tailscale:latest',
                env: [
                  { name: 'TS_KUBE_SECRET', value: 'tailscale-auth-acme' },
                  { name: 'TS_USERSPACE', value: 'false' },
                  { name: 'TS_HOSTNAME', value: 'book-customer-support' },
                  { name: 'TS_ROUTES', value: '10.1.0.0/24' },
                ],
                securityContext: { capabilities: { add: ['NET_ADMIN'] } },
                volumeMounts: [{ name: 'dev-net-tun', mountPath: '/dev/net/tun' }],
              },
            ],
            volumes: [{ name: 'dev-net-tun', hostPath: { path: '/dev/net/tun' } }],
          },
        },
      },
    };
    const error = refusal(() => injectSidecar(specified, kernel));
    expect(error).toMatchObject({ code: 'SIDECAR_EXISTS', issues: [{ path: 'spec.template.spec.containers.1' }] });
    for (const word of ['Remove it', '/dev/net/tun', 'then attach', 'TS_HOSTNAME', 'hostname', 'TS_ROUTES', 'advertiseRoutes'])
      expect(error.message).toContain(word);
    expect(error.message).not.toContain('tailscale-auth-acme');
    const [book] = specified.spec.template.spec.containers;
    const without = { ...specified, spec: { template: { spec: { containers: [book] } } } };
    expect(stripSidecar(injectSidecar(without, kernel))).toEqual(without);
  });
});
