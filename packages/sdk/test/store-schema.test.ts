import { readFileSync } from 'node:fs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import type { z } from 'zod';
import { resourceDefinitions } from '../src/adapters/kubernetes/store-definitions.ts';
import type { sidecarSpecSchema, sidecarStateSchema } from '../src/adapters/kubernetes/store-schema-sidecar.ts';
import type { tailnetSpecSchema, tailnetStateSchema } from '../src/adapters/kubernetes/store-schema-tailnet.ts';
import type { SidecarSpec, SidecarState, TailnetSpec, TailnetState } from '../src/domain/model.ts';

const MANIFEST = new URL('../../../examples/deploy/crds.yaml', import.meta.url);

/** An intersection and the object that it comes to are the same to us. */
type Flat<T> = T extends object ? { [K in keyof T]: Flat<T[K]> } : T;

it('the output of each schema of the store is exactly the model', () => {
  expectTypeOf<z.output<typeof tailnetSpecSchema>>().toEqualTypeOf<TailnetSpec>();
  expectTypeOf<Flat<z.output<typeof tailnetStateSchema>>>().toEqualTypeOf<Flat<TailnetState>>();
  expectTypeOf<z.output<typeof sidecarSpecSchema>>().toEqualTypeOf<SidecarSpec>();
  expectTypeOf<z.output<typeof sidecarStateSchema>>().toEqualTypeOf<SidecarState>();
});

it('examples/deploy/crds.yaml is what `npm run generate` writes', () => {
  const documents = parseAllDocuments(readFileSync(MANIFEST, 'utf8')).map((document): unknown => document.toJS({}));
  expect(documents).toEqual(JSON.parse(JSON.stringify(resourceDefinitions())));
});

type Node = Readonly<Record<string, unknown>>;
interface Place {
  readonly path: string;
  readonly node: Node;
  /** Under `status`, or in a fragment, whose words are those of Kubernetes. */
  readonly foreign: boolean;
}

function* nodesOf(path: string, node: Node, foreign: boolean): Generator<Place> {
  yield { path, node, foreign };
  const properties = (node['properties'] ?? {}) as Readonly<Record<string, Node>>;
  for (const [name, member] of Object.entries(properties)) yield* nodesOf(`${path}.${name}`, member, foreign || /fragment$/i.test(name));
  if (node['items']) yield* nodesOf(`${path}[]`, node['items'] as Node, foreign);
}

const places = resourceDefinitions().flatMap((definition) => {
  const { names, versions } = definition['spec'] as { names: { kind: string }; versions: { schema: { openAPIV3Schema: Node } }[] };
  return versions.flatMap(({ schema }) => [...nodesOf(names.kind, schema.openAPIV3Schema, false)]);
});
const below = (part: string): readonly Place[] => places.filter(({ path }) => path.includes(`.${part}`));

describe('the definitions', () => {
  it('say of every member what it is, for `kubectl explain`', () => {
    const silent = places.filter(({ path, node, foreign }) => !foreign && !path.endsWith('[]') && typeof node['description'] !== 'string');
    expect(silent.map(({ path }) => path)).toEqual([]);
  });

  it('bound every text and list of a spec, so that rules stay cheap', () => {
    const unbounded = below('spec').filter(({ node, foreign }) => {
      if (foreign || node['enum']) return false;
      return (node['type'] === 'string' && node['maxLength'] === undefined) || (node['type'] === 'array' && node['maxItems'] === undefined);
    });
    expect(unbounded.map(({ path }) => path)).toEqual([]);
  });

  it('have no rule on the root: metadata changes with every write, and a rule must not hold up a finalizer', () => {
    const roots = places.filter(({ path }) => !path.includes('.'));
    expect(roots).toHaveLength(2);
    for (const { node } of roots) expect(node['x-kubernetes-validations']).toBeUndefined();
  });

  it('keep what a newer manager says in a status, and drop nothing there by a default', () => {
    const objects = below('status').filter(({ node }) => node['type'] === 'object');
    expect(objects.length).toBeGreaterThan(5);
    for (const { node } of objects) expect(node['x-kubernetes-preserve-unknown-fields']).toBe(true);
    for (const { node } of below('status')) expect(node['default']).toBeUndefined();
  });

  it('fix what must not change', () => {
    const fixedMembers = places.filter(({ node }) => JSON.stringify(node['x-kubernetes-validations'] ?? '').includes('self == oldSelf'));
    expect(fixedMembers.map(({ path }) => path)).toEqual([
      ...['tailnetId', 'customerId', 'tenancy'].map((name) => `Tailnet.spec.${name}`),
      ...['sidecarId', 'tailnetName', 'customerId'].map((name) => `SidecarAttachment.spec.${name}`),
    ]);
  });

  it('use patterns that Go reads as we do', () => {
    for (const { node } of places) expect(String(node['pattern'] ?? '')).not.toMatch(/\(\?[^:]|\\[pPdDwWsSbB]/);
  });
});
