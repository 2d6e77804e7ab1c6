import { type KubernetesConnection, kubernetesStore } from '@bifrost/sdk/kubernetes';
import { describe, expect, it, vi } from 'vitest';
import { type AdminCall, applyManifest } from '../../support/api-server.ts';

/** A real API server, with an admin's hand beside the manager's. */
export interface RealServer {
  readonly call: AdminCall;
  readonly connect: () => KubernetesConnection;
  readonly manifest: (name: string) => URL;
}
type Store = ReturnType<typeof kubernetesStore>;
interface Bench extends RealServer {
  readonly store: Store;
  /** A tailnet's name that nobody used; what it names goes after the case. */
  readonly name: string;
  readonly path: string;
}
interface CustomObject {
  readonly metadata: {
    readonly uid: string;
    readonly finalizers?: readonly string[];
    readonly labels?: object;
    readonly annotations?: object;
    readonly managedFields: readonly { readonly manager: string; readonly fieldsV1: object }[];
  };
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
}

const ROOT = '/apis/network.bifrost.dev/v1alpha1';
const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const FINALIZER = 'network.bifrost.dev/cleanup';
const MERGE = 'application/merge-patch+json';
const SPEC = { customerId: 'acme', config: { allowedNetworks: ['10.0.0.0/8'] } };
const within = (): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(10_000) });
const patient = { timeout: 30_000, interval: 100 };

async function bench(server: RealServer, run: (bench: Bench) => Promise<void>): Promise<void> {
  await using store = kubernetesStore({ connection: server.connect() });
  const name = `by-hand-${crypto.randomUUID().slice(0, 8)}`;
  const path = `${ROOT}/tailnets/${name}`;
  try {
    await run({ ...server, store, name, path });
  } finally {
    await server.call('DELETE', path);
    await server.call('PATCH', path, { metadata: { finalizers: null } }, MERGE);
  }
}

/** As kubectl does it: server-side apply, strict. */
const apply = ({ call, name, path }: Bench, spec: object, { metadata = {}, manager = 'kubectl' } = {}) =>
  call(
    'PATCH',
    `${path}?fieldManager=${manager}&fieldValidation=Strict`,
    { apiVersion: 'network.bifrost.dev/v1alpha1', kind: 'Tailnet', metadata: { name, ...metadata }, spec },
    'application/apply-patch+yaml',
  );
async function applied(bench: Bench, spec: object, more?: { readonly metadata?: object; readonly manager?: string }): Promise<CustomObject> {
  const { status, body } = await apply(bench, spec, more);
  expect([200, 201], JSON.stringify(body)).toContain(status);
  return body as CustomObject;
}
const seen = async ({ call, path }: Bench): Promise<CustomObject> => (await call('GET', path)).body as CustomObject;
async function stored({ store, name }: Bench) {
  const found = await store.tailnets.get(name, within());
  if (found === undefined) throw new Error(`${name} is not there`);
  return found;
}

export function describeStoredObjects(server: () => RealServer): void {
  const onServer = (run: (bench: Bench) => Promise<void>) => () => bench(server(), run);

  describe('a Tailnet by kubectl', () => {
    it(
      'has the defaults of a call, in the cluster too',
      onServer(async (bench) => {
        const { spec, metadata } = await applied(bench, SPEC);
        const config = { allowedNetworks: ['10.0.0.0/8'], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false };
        expect(spec).toEqual({ customerId: 'acme', config, tags: [], tenancy: 'customer-owned' });
        expect((await stored(bench)).spec).toEqual({ ...spec, tailnetId: metadata.uid, credentialSecretName: 'bifrost-customer-acme' });
      }),
    );

    it.each([
      ['a range that is none', { ...SPEC, config: { allowedNetworks: ['10.0.0.0/8', 'everything'] } }, 'spec.config.allowedNetworks[1]'],
      ['IPv4 written as IPv6', { ...SPEC, config: { allowedNetworks: ['::ffff:10.0.0.0/104'] } }, 'spec.config.allowedNetworks[0]'],
      ['an empty range', { ...SPEC, config: { allowedNetworks: [], blockedNetworks: [''] } }, 'spec.config.blockedNetworks[0]'],
      ['no ranges', { customerId: 'acme', config: {} }, 'spec.config.allowedNetworks'],
      ['no configuration', { customerId: 'acme' }, 'spec.config'],
      ['no customer', { config: SPEC.config }, 'spec.customerId'],
      ['a customer that is no label', { ...SPEC, customerId: 'a b' }, 'spec.customerId'],
      ['another policy', { ...SPEC, config: { allowedNetworks: [], accessPolicy: 'open' } }, 'spec.config.accessPolicy'],
      ['a tag with spaces', { ...SPEC, tags: ['a b'] }, 'spec.tags[0]'],
      ['a credential in our organization', { ...SPEC, tenancy: 'organization', credentialSecretName: 'mine' }, 'spec.credentialSecretName'],
      ['a misspelt member', { ...SPEC, alowed: true }, 'spec.alowed'],
    ])('%s is refused, with its path', (_, spec, path) =>
      bench(server(), async (bench) => {
        const { status, body } = await apply(bench, spec);
        expect(status).toBeGreaterThanOrEqual(400);
        expect(JSON.stringify(body)).toContain(path);
        expect((await bench.call('GET', bench.path)).status).toBe(404);
      }),
    );

    it.each([
      ['customerId', { ...SPEC, customerId: 'globex' }],
      ['tenancy', { ...SPEC, tenancy: 'organization' }],
      ['tailnetId', { ...SPEC, tailnetId: 'invented-later' }],
    ])('keeps its %s', (member, spec) =>
      bench(server(), async (bench) => {
        await applied(bench, SPEC);
        const { status, body } = await apply(bench, spec);
        expect(status).toBe(422);
        expect(JSON.stringify(body)).toContain(`${member} cannot be`);
      }),
    );

    it(
      'prints what one wants to know',
      onServer(async (bench) => {
        await applied(bench, SPEC);
        const condition = (type: string, status: 'True' | 'False') =>
          ({ type, status, reason: 'AsWanted', message: '', observedGeneration: 1, lastTransitionTime: '2026-11-23T07:27:48Z' }) as const;
        const conditions = [condition('Accepted', 'True'), condition('Ready', 'False')];
        await bench.store.tailnets.replaceState(
          await stored(bench),
          { phase: 'failed', conditions, reason: { code: 'CONTROL_DENIED', message: 'm' } },
          within(),
        );
        expect((await seen(bench)).status).toMatchObject({ observedGeneration: 1, conditions });
        // What `kubectl get` asks for; our caller cannot set Accept, so the columns are compared by their paths.
        const { body } = await bench.call('GET', `${CRDS}/tailnets.network.bifrost.dev`);
        const { spec } = body as { spec: { versions: { additionalPrinterColumns: { name: string }[] }[] } };
        expect(spec.versions[0]?.additionalPrinterColumns.map(({ name }) => name)).toEqual([
          'Customer',
          'Status',
          'Accepted',
          'Ready',
          'Reason',
          'Age',
        ]);
        const selected = await bench.call('GET', `${ROOT}/tailnets?fieldSelector=spec.customerId%3Dacme`);
        expect((selected.body as { items: { metadata: { name: string } }[] }).items.map(({ metadata }) => metadata.name)).toContain(bench.name);
      }),
    );
  });

  describe('what others own', () => {
    it(
      'stays: labels, annotations, finalizers, and fields of the spec',
      onServer(async (bench) => {
        const { store } = bench;
        const metadata = { labels: { team: 'a' }, annotations: { 'example.org/note': 'b' }, finalizers: ['example.org/theirs'] };
        await applied(bench, SPEC, { metadata, manager: 'gitops' });
        const told = await store.tailnets.replaceState(await stored(bench), { phase: 'active' }, within());
        await store.tailnets.replaceSpec(told, { ...told.spec, paused: true }, within());
        const object = await seen(bench);
        expect(object.metadata).toMatchObject({ labels: metadata.labels, annotations: metadata.annotations });
        expect(object.metadata.finalizers).toEqual(['example.org/theirs', FINALIZER]);
        const ours = object.metadata.managedFields.filter(({ manager }) => manager === 'bifrost').map(({ fieldsV1 }) => JSON.stringify(fieldsV1));
        expect(ours.some((fields) => fields.includes('"f:paused"'))).toBe(true);
        expect(ours.some((fields) => fields.includes('"f:config"') || fields.includes('"f:customerId"'))).toBe(false);
        // Whoever applies their manifest again takes nothing of ours away, and meets no conflict.
        expect((await applied(bench, { ...SPEC, tags: ['new'] }, { metadata, manager: 'gitops' })).spec).toMatchObject({
          paused: true,
          tags: ['new'],
        });
      }),
    );

    it(
      'outlives our finalizer; ours holds the object until it is finalized, and no longer',
      onServer(async (bench) => {
        const { call, store, name, path } = bench;
        await applied(bench, SPEC, { metadata: { finalizers: ['example.org/theirs'] } });
        await store.tailnets.replaceState(await stored(bench), { phase: 'creating' }, within());
        await call('DELETE', path);
        const marked = await stored(bench);
        expect(marked.deleting).toBe(true);
        await store.tailnets.finalize(marked, within());
        expect((await seen(bench)).metadata.finalizers).toEqual(['example.org/theirs']);
        await store.tailnets.finalize(await stored(bench), within());
        await call('PATCH', path, { metadata: { finalizers: null } }, MERGE);
        expect(await store.tailnets.get(name, within())).toBeUndefined();
      }),
    );
  });

  describe('definitions of another version', () => {
    it(
      'that let in more: what was stored then is read, hinders no other, and can be ended',
      onServer(async (bench) => {
        const { call, store, name, path, manifest } = bench;
        const anything = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
        await definitions(bench, [
          { op: 'remove', path: '/spec/versions/0/selectableFields' },
          { op: 'replace', path: '/spec/versions/0/schema/openAPIV3Schema', value: anything },
        ]);
        try {
          // Types and required members have been the same in every version.
          const config = { allowedNetworks: ['everything'], accessPolicy: 'open' };
          const broken = { customerId: 'acme', config, tags: ['a b'], tenancy: 'organization', credentialSecretName: 'mine', old: true };
          await vi.waitFor(async () => expect((await apply(bench, broken, { metadata: { finalizers: [FINALIZER] } })).status).toBe(201), patient);
        } finally {
          await applyManifest(call, manifest('crds.yaml'));
        }
        await vi.waitFor(
          async () => expect((await call('POST', `${ROOT}/tailnets`, tailnetNamed('never', { ...SPEC, tags: ['a b'] }))).status).toBe(422),
          patient,
        );
        expect((await store.tailnets.list(within())).map(({ key }) => key)).toContain(name);
        const found = await stored(bench);
        expect(found.spec).toMatchObject({ customerId: 'acme', config: { allowedNetworks: [''] }, tenancy: 'organization' });
        const told = await store.tailnets.replaceState(found, { phase: 'failed', reason: { code: 'INVALID_ARGUMENT', message: 'm' } }, within());
        await call('DELETE', path);
        const marked = await stored(bench);
        expect(marked.version).not.toBe(told.version);
        const wished = await store.tailnets.replaceSpec(marked, { ...marked.spec, abandon: true }, within());
        expect(wished.spec.abandon).toBe(true);
        await store.tailnets.finalize(wished, within());
        expect(await store.tailnets.get(name, within())).toBeUndefined();
      }),
    );

    it(
      'that know less: a write is refused as a whole instead of losing a member, and says what to apply',
      onServer(async (bench) => {
        const { call, store, manifest } = bench;
        await applied(bench, SPEC);
        await definitions(bench, [{ op: 'remove', path: '/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/rollout' }]);
        try {
          await vi.waitFor(async () => {
            const found = await stored(bench);
            const written = store.tailnets.replaceSpec(found, { ...found.spec, paused: true, rollout: 'always' }, within());
            const error: unknown = await written.catch((reason: unknown) => reason);
            expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', message: expect.stringContaining('crds.yaml') });
            expect((await stored(bench)).version).toBe(found.version);
          }, patient);
        } finally {
          await applyManifest(call, manifest('crds.yaml'));
        }
        await vi.waitFor(async () => {
          const found = await stored(bench);
          expect((await store.tailnets.replaceSpec(found, { ...found.spec, rollout: 'always' }, within())).spec.rollout).toBe('always');
        }, patient);
      }),
    );
  });
}

const tailnetNamed = (name: string, spec: object): object => ({
  apiVersion: 'network.bifrost.dev/v1alpha1',
  kind: 'Tailnet',
  metadata: { name },
  spec,
});

async function definitions({ call }: Bench, patch: readonly object[]): Promise<void> {
  const { status, body } = await call('PATCH', `${CRDS}/tailnets.network.bifrost.dev`, patch, 'application/json-patch+json');
  expect(status, JSON.stringify(body)).toBe(200);
}
