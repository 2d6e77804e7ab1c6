import type { CreateTailnetInput } from '@bifrost/types';
import { BifrostError } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { kubernetes, kubernetesStore } from '../src/kubernetes.ts';
import type { Store } from '../src/ports/store.ts';
import { exampleSidecarSpec } from '../src/testing/conformance/store-examples.ts';
import { events, type FakeServer, json, list, startFakeServer, status, text } from './kubernetes-fake-server.ts';
import { openWorld } from './support/world.ts';

const call = (): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(10_000) });
const FINALIZER = 'network.bifrost.dev/cleanup';
const PATH = '/apis/network.bifrost.dev/v1alpha1';

interface Bench {
  readonly server: FakeServer;
  readonly store: Store;
  /** The `count` last requests: what was done, and with what. */
  last(count: number): readonly (readonly [what: string, body: unknown])[];
}
async function bench(run: (bench: Bench) => Promise<void>): Promise<void> {
  await using server = await startFakeServer();
  await using store = kubernetesStore({ connection: kubernetes({ kubeconfig: server.kubeconfig() }) });
  const last = (count: number) =>
    server.received.slice(-count).map(({ method, path, body }) => [`${method} ${path.slice(PATH.length)}`, body] as const);
  await run({ server, store, last });
}

const CONFIG = { allowedNetworks: ['10.0.0.0/8'], blockedNetworks: [], accessPolicy: 'restrictive', enableLogging: false };
const META = { name: 'by-hand', uid: 'uid-1', resourceVersion: '5', generation: 1, creationTimestamp: '2026-11-23T07:27:48Z' };
const tailnet = (spec: unknown, meta: object = {}, more: object = {}) => ({ kind: 'Tailnet', metadata: { ...META, ...meta }, spec, ...more });
const guarded = (spec: unknown, meta: object = {}) => tailnet(spec, { finalizers: [FINALIZER], ...meta });
const replaceVersion = (value: string) => ({ op: 'replace', path: '/metadata/resourceVersion', value });

async function read({ server, store }: Bench, object: unknown) {
  server.next(json(object));
  const found = await store.tailnets.get('by-hand', call());
  if (found === undefined) throw new BifrostError({ code: 'STORE_NOT_FOUND', message: 'the test expected an object' });
  return found;
}

describe('a Tailnet that kubectl made', () => {
  it('is whole, and its id is its uid', () =>
    bench(async (bench) => {
      expect(await read(bench, tailnet({ customerId: 'acme', config: { allowedNetworks: ['10.0.0.0/8', 'FD00:0:0::/64'] } }))).toEqual({
        key: 'by-hand',
        version: expect.stringMatching(/^5\b/),
        generation: 1,
        createdAtMs: Date.parse('2026-11-23T07:27:48Z'),
        deleting: false,
        spec: {
          tailnetId: 'uid-1',
          customerId: 'acme',
          config: { ...CONFIG, allowedNetworks: ['10.0.0.0/8', 'fd00::/64'] },
          tags: [],
          tenancy: 'customer-owned',
          credentialSecretName: 'bifrost-customer-acme',
        },
        state: { phase: 'creating' },
      });
    }));

  it.each<[string, Partial<CreateTailnetInput>, object]>([
    ['with what is needed', {}, {}],
    ['with its credential', { credential: { secretName: 'their.oauth' } }, { credentialSecretName: 'their.oauth' }],
    ['in our organization', { tenancy: 'organization' }, { tenancy: 'organization' }],
    [
      'with ranges in another form',
      { config: { allowedNetworks: ['FD00:0::/64'], accessPolicy: 'standard', enableLogging: true }, tags: ['a.b'] },
      { config: { allowedNetworks: ['FD00:0::/64'], accessPolicy: 'standard', enableLogging: true }, tags: ['a.b'] },
    ],
  ])('%s is what the same call makes', (_, input, spec) =>
    bench(async (bench) => {
      await using world = await openWorld();
      const request = { customerId: 'acme', tailnetName: 'by-call', config: { allowedNetworks: ['10.0.0.0/8'] }, ...input };
      await world.manager.createTailnet(request);
      const made = (await world.store.tailnets.get('by-call', call()))?.spec;
      const { tailnetId = '' } = made ?? {};
      const found = await read(bench, tailnet({ customerId: 'acme', config: { allowedNetworks: ['10.0.0.0/8'] }, ...spec }, { uid: tailnetId }));
      expect(found.spec).toEqual(made);
    }),
  );

  it('of a customer whose id fits into no name has no credential until it names one', () =>
    bench(async (bench) => {
      const { spec } = await read(bench, tailnet({ customerId: 'Acme_Corp', config: CONFIG }));
      expect(spec.credentialSecretName).toBe('');
    }));

  it('gets the finalizer before its first state is written, beside the finalizers of others', () =>
    bench(async (bench) => {
      const { server, store, last } = bench;
      const object = tailnet({ customerId: 'acme', config: CONFIG }, { finalizers: ['other'] });
      const found = await read(bench, object);
      const both = ['other', FINALIZER];
      const held = { ...object, metadata: { ...object.metadata, resourceVersion: '6', finalizers: both } };
      const written = { ...held, metadata: { ...held.metadata, resourceVersion: '7' }, status: { phase: 'active', observedGeneration: 1 } };
      server.next(json(object), json(held), json(written));
      expect(await store.tailnets.replaceState(found, { phase: 'active' }, call())).toMatchObject({ version: '7', state: { phase: 'active' } });
      expect(last(3)).toEqual([
        ['GET /tailnets/by-hand', ''],
        ['PATCH /tailnets/by-hand', [replaceVersion('5'), { op: 'add', path: '/metadata/finalizers', value: both }]],
        ['PATCH /tailnets/by-hand/status', [replaceVersion('6'), { op: 'add', path: '/status', value: { phase: 'active', observedGeneration: 1 } }]],
      ]);
    }));

  it.each([
    ['changed', json(tailnet({ customerId: 'acme' }, { resourceVersion: '6' })), 'STORE_CONFLICT'],
    ['gone', status(404, 'NotFound'), 'STORE_NOT_FOUND'],
  ])('and is %s meanwhile gets nothing written', (_, answer, code) =>
    bench(async (bench) => {
      const found = await read(bench, tailnet({ customerId: 'acme', config: CONFIG }));
      bench.server.next(answer);
      await expect(bench.store.tailnets.replaceState(found, { phase: 'active' }, call())).rejects.toMatchObject({ code });
      expect(bench.server.received.map(({ method }) => method)).toEqual(['GET', 'GET']);
    }),
  );

  it('and is already deleting gets no finalizer any more', () =>
    bench(async (bench) => {
      const object = tailnet({ customerId: 'acme', config: CONFIG }, { deletionTimestamp: '2026-11-23T08:00:00Z', finalizers: ['other'] });
      const found = await read(bench, object);
      bench.server.next(json(object));
      await bench.store.tailnets.replaceState(found, { phase: 'deleting' }, call());
      expect(bench.last(1)[0]?.[0]).toBe('PATCH /tailnets/by-hand/status');
      expect(bench.server.received).toHaveLength(2);
    }));
});

describe('writes', () => {
  const spec = { customerId: 'acme', config: CONFIG, tags: ['a'], paused: true, newer: { of: 'another version' } };

  it('name what changes and nothing else, so that fields of others and of newer versions stay', () =>
    bench(async (bench) => {
      const found = await read(bench, guarded(spec));
      const { paused: _, ...rest } = found.spec;
      bench.server.next(json(guarded({ ...spec, abandon: true }, { resourceVersion: '6', generation: 2 })));
      await bench.store.tailnets.replaceSpec(found, { ...rest, abandon: true, tags: ['a'] }, call());
      expect(bench.last(1)).toEqual([
        ['PATCH /tailnets/by-hand', [replaceVersion('5'), { op: 'add', path: '/spec/abandon', value: true }, { op: 'remove', path: '/spec/paused' }]],
      ]);
    }));

  it('are refused where the installed definitions would drop a member', () =>
    bench(async (bench) => {
      const { server, store } = bench;
      const found = await read(bench, guarded(spec));
      const why = 'strict decoding error: unknown field "spec.rollout"';
      const patchCauses = [{ reason: 'FieldValueInvalid', message: `Invalid value: "{}": ${why}`, field: 'patch' }];
      server.next(status(422, 'Invalid', { causes: patchCauses }), status(400, 'BadRequest', {}, why)); // as a real server says it
      const replaced = store.tailnets.replaceSpec(found, { ...found.spec, rollout: 'always' }, call());
      await expect(replaced).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', message: expect.stringContaining('crds.yaml') });
      const created = store.tailnets.create('new', { spec: found.spec, state: { phase: 'creating' } }, call());
      await expect(created).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
      expect(server.received.slice(1).map(({ query }) => query.get('fieldValidation'))).toEqual(['Strict', 'Strict']);
    }));

  it.each([
    ['no CRD', text('404 page not found\n', 'text/plain', 404), 'STORE_UNAVAILABLE'],
    ['RBAC', status(403, 'Forbidden'), 'STORE_UNAVAILABLE'],
    ['overload', status(429, 'TooManyRequests', { retryAfterSeconds: 2 }), 'STORE_UNAVAILABLE'],
    ['a proxy', text('<html>', 'text/html', 502), 'STORE_UNAVAILABLE'],
    [
      'the schema',
      status(422, 'Invalid', { causes: [{ reason: 'FieldValueRequired', message: 'Required value', field: 'spec.customerId' }] }),
      'CLUSTER_REJECTED',
    ],
  ])('%s in the way', (_, handler, code) =>
    bench(async ({ server, store }) => {
      server.next(handler);
      const error = await store.tailnets.list(call()).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code });
      expect(BifrostError.is(error) && (error.issues.length > 0 || error.cause !== undefined)).toBe(true);
    }),
  );

  it('a key that no object can have is absent, and is not asked for', () =>
    bench(async ({ server, store }) => {
      for (const key of ['', '..', 'A', 'a/b', 'x?y', 'a'.repeat(300)]) expect(await store.tailnets.get(key, call())).toBeUndefined();
      for (const key of ['', 'only-name', '../x', 'a/../b', 'a/b/c']) expect(await store.sidecars.get(key, call())).toBeUndefined();
      await store.sidecars.remove('../x', call());
      expect(server.received).toHaveLength(0);
    }));
});

describe('the end of an object', () => {
  const DELETED = { deletionTimestamp: '2026-11-23T08:00:00Z' };

  it('takes our finalizer and no other', () =>
    bench(async (bench) => {
      const object = guarded({ customerId: 'acme', config: CONFIG }, { ...DELETED, finalizers: ['first', FINALIZER, 'last'] });
      const found = await read(bench, object);
      bench.server.next(json(object), json(object));
      await bench.store.tailnets.finalize(found, call());
      const path = '/metadata/finalizers/1';
      expect(bench.last(1)).toEqual([
        ['PATCH /tailnets/by-hand', [replaceVersion('5'), { op: 'test', path, value: FINALIZER }, { op: 'remove', path }]],
      ]);
    }));

  it('that others hold up is no business of ours any more', () =>
    bench(async (bench) => {
      const object = tailnet({ customerId: 'acme', config: CONFIG }, { ...DELETED, finalizers: ['other'] });
      const found = await read(bench, object);
      expect(found.deleting).toBe(true);
      bench.server.next(json(object));
      await bench.store.tailnets.finalize(found, call());
      expect(bench.server.received.map(({ method }) => method)).toEqual(['GET', 'GET']);
    }));
});

describe('what cannot be read', () => {
  const BROKEN = [undefined, null, 'text', [], { customerId: 7, config: 'none', tags: [1], tailnetId: {}, credentialSecretName: false }] as const;

  it.each(BROKEN)('a Tailnet with spec %j hinders no other, is accepted by no check, and can be ended', (spec) =>
    bench(async (bench) => {
      const { server, store } = bench;
      const object = guarded(spec, { deletionTimestamp: '2026-11-23T08:00:00Z' });
      const other = guarded({ customerId: 'acme', config: CONFIG }, { name: 'other' });
      server.next(list([{ ...object, status: { phase: 'strange', controlId: 'T1', conditions: 'none' } }, other], '9'));
      const [found, well] = await store.tailnets.list(call());
      expect(well?.spec.config).toEqual(CONFIG);
      expect(found).toMatchObject({ deleting: true, spec: { tailnetId: 'uid-1', customerId: '' }, state: { phase: 'creating', controlId: 'T1' } });
      if (found === undefined) return;
      server.next(json(object), json(object));
      await store.tailnets.finalize(found, call());
      expect(bench.last(1)[0]?.[0]).toBe('PATCH /tailnets/by-hand');
    }),
  );

  it('a SidecarAttachment keeps every member that can be read: the ledger above all', () =>
    bench(async ({ server, store }) => {
      const workload = { kind: 'Deployment', namespace: 'shop', name: 'book', uid: 'u' } as const;
      const whole = exampleSidecarSpec(workload);
      const keys = [{ keyId: 'k1', expiresAtMs: 1 }];
      const meta = { ...META, namespace: 'shop', name: 'deployment-book' };
      server.next(
        list(
          [
            {
              metadata: { ...meta, name: 'a' },
              spec: { ...whole, fragment: 'lost', mode: 'another', trial: 1 },
              status: { phase: 'x', keys, deviceIds: 'none' },
            },
            { metadata: { ...meta, name: 'b' } },
          ],
          '9',
        ),
      );
      const [kept, empty] = await store.sidecars.list(call());
      const nothing = { labels: {}, annotations: {}, initContainers: [], volumes: [] };
      expect(kept?.spec).toEqual({ ...whole, fragment: nothing });
      expect(kept?.state).toEqual({ phase: 'attaching', instances: [], keys, deviceIds: [] });
      expect(empty?.spec).toMatchObject({ sidecarId: 'uid-1', workload: { namespace: 'shop', name: '' }, fragment: nothing });
    }));
});

describe('watch', () => {
  const object = (name: string, resourceVersion = '1') => ({
    kind: 'PartialObjectMetadata',
    metadata: { ...META, name, uid: `uid-${name}`, resourceVersion },
  });

  it.each([
    ['an event', events([{ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } }])],
    ['an answer', status(410, 'Expired')],
  ])('after 410 as %s all keys come again, and those that went meanwhile too', (_, expired) =>
    bench(async ({ server, store }) => {
      server.next(list([object('a'), object('b')], '10'), expired, list([object('b', '20'), object('c', '21')], '30'), events([]));
      const hints = store.tailnets.watch(call())[Symbol.asyncIterator]();
      const seen: string[] = [];
      while (!seen.includes('c')) {
        const next = await hints.next();
        if (next.done !== true) seen.push(next.value.key);
      }
      expect(seen.slice(0, 2)).toEqual(['a', 'b']);
      expect(seen.slice(2).sort()).toEqual(['a', 'b', 'c']);
      await hints.return?.(undefined);
    }),
  );

  it('asks for metadata alone and for bookmarks, and goes on from the last bookmark', () =>
    bench(async ({ server, store }) => {
      const bookmark = { type: 'BOOKMARK', object: { kind: 'PartialObjectMetadata', metadata: { resourceVersion: '40' } } };
      server.next(list([], '10'), events([bookmark], true), events([{ type: 'ADDED', object: object('d', '41') }]));
      for await (const { key } of store.tailnets.watch(call())) if (key === 'd') break;
      const watches = server.received.filter(({ query }) => query.get('watch') === 'true');
      expect(watches.map(({ query }) => [query.get('resourceVersion'), query.get('allowWatchBookmarks')])).toEqual([
        ['10', 'true'],
        ['40', 'true'],
      ]);
      for (const { headers } of server.received) expect(headers.accept).toContain('PartialObjectMetadata');
    }));
});
