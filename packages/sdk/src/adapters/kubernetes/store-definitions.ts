import { z } from 'zod';
import { GROUP, SIDECARS, TAILNETS, VERSION } from './store-codec.ts';
import { sidecarSpecSchema, sidecarStateSchema } from './store-schema-sidecar.ts';
import { tailnetSpecSchema, tailnetStateSchema } from './store-schema-tailnet.ts';

type Json = Record<string, unknown>;

interface Column {
  readonly name: string;
  readonly type: 'string' | 'date' | 'integer';
  readonly jsonPath: string;
  /** 1: with `-o wide` only. */
  readonly priority?: number;
  readonly description?: string;
}

const conditionStatus = (type: string): string => `.status.conditions[?(@.type=="${type}")].status`;
const AGE: Column = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' };
const STATUS: Column = { name: 'Status', type: 'string', jsonPath: '.status.phase' };
const READY: Column = { name: 'Ready', type: 'string', jsonPath: conditionStatus('Ready') };
const REASON: Column = {
  name: 'Reason',
  type: 'string',
  jsonPath: '.status.reason.code',
  priority: 1,
  description: 'Why it is not as it was wanted.',
};

/** The custom resource definitions of the store: `examples/deploy/crds.yaml` is these, written as YAML (`npm run generate`). */
export function resourceDefinitions(): readonly Json[] {
  return [
    definitionOf({
      ...TAILNETS,
      scope: 'Cluster',
      shortNames: ['tn'],
      description: "A customer's isolated network. Deleting it takes away what was made for it at the control plane.",
      columns: [
        { name: 'Customer', type: 'string', jsonPath: '.spec.customerId' },
        STATUS,
        { name: 'Accepted', type: 'string', jsonPath: conditionStatus('Accepted'), description: 'Whether the spec is one that a call would accept.' },
        READY,
        REASON,
        AGE,
      ],
      selectable: ['.spec.customerId'],
      spec: tailnetSpecSchema,
      status: tailnetStateSchema,
    }),
    definitionOf({
      ...SIDECARS,
      scope: 'Namespaced',
      shortNames: ['sca'],
      description:
        'One book that is attached to one tailnet; named KIND-NAME after its workload. Made by the manager; deleting it detaches the book.',
      columns: [
        { name: 'Tailnet', type: 'string', jsonPath: '.spec.tailnetName' },
        { name: 'Workload', type: 'string', jsonPath: '.spec.workload.name' },
        { name: 'Mode', type: 'string', jsonPath: '.spec.mode' },
        STATUS,
        READY,
        { name: 'Kind', type: 'string', jsonPath: '.spec.workload.kind', priority: 1 },
        { name: 'Id', type: 'string', jsonPath: '.spec.sidecarId', priority: 1 },
        REASON,
        AGE,
      ],
      selectable: ['.spec.tailnetName', '.spec.customerId', '.spec.sidecarId'],
      spec: sidecarSpecSchema,
      status: sidecarStateSchema,
    }),
  ];
}

interface Kind {
  readonly kind: string;
  readonly plural: string;
  readonly scope: 'Cluster' | 'Namespaced';
  readonly shortNames: readonly string[];
  readonly description: string;
  readonly columns: readonly Column[];
  /** Fields that `--field-selector` takes. */
  readonly selectable: readonly string[];
  readonly spec: z.ZodType;
  readonly status: z.ZodType;
}

function definitionOf({ kind, plural, scope, shortNames, description, columns, selectable, spec, status }: Kind): Json {
  const names = { kind, listKind: `${kind}List`, plural, singular: kind.toLowerCase(), shortNames, categories: ['bifrost'] };
  const statusSchema = openApiOf(status, keepingUnknown);
  withGeneration(statusSchema);
  const version = {
    name: VERSION,
    served: true,
    storage: true,
    subresources: { status: {} },
    additionalPrinterColumns: columns,
    selectableFields: selectable.map((jsonPath) => ({ jsonPath })),
    schema: { openAPIV3Schema: { description, type: 'object', required: ['spec'], properties: { spec: openApiOf(spec), status: statusSchema } } },
  };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${GROUP}` },
    spec: { group: GROUP, scope, names, versions: [version] },
  };
}

/** A status is written by the manager only. A newer one than these definitions may know more members, and must not lose them: the ledger is there. */
function keepingUnknown(node: Json): void {
  delete node['default'];
  if (node['type'] === 'object') node['x-kubernetes-preserve-unknown-fields'] = true;
}

function withGeneration(status: Json): void {
  const observedGeneration = { description: 'The metadata.generation that the rest speaks of.', type: 'integer', format: 'int64', minimum: 0 };
  status['properties'] = { observedGeneration, ...(status['properties'] as Json) };
}

/** A structural schema, as the API server wants it: what people may write, with defaults. */
function openApiOf(schema: z.ZodType, also: (node: Json) => void = () => undefined): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    target: 'openapi-3.0',
    io: 'input',
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      const node = jsonSchema as Json;
      delete node['readOnly'];
      if (node['default'] === '') delete node['default']; // stands for "left out", see filledInByUs
      if (node['additionalProperties'] === false) delete node['additionalProperties'];
      if (node['maximum'] === Number.MAX_SAFE_INTEGER) delete node['maximum'];
      if (node['minimum'] === Number.MIN_SAFE_INTEGER) delete node['minimum'];
      if (node['type'] === 'integer') node['format'] = 'int64';
      also(node);
    },
  }) as Json;
  return ordered(rest) as Json;
}

const FIRST = ['description', 'type', 'format', 'enum', 'default', 'required', 'x-kubernetes-validations'];
const rank = (key: string): number => {
  const at = FIRST.indexOf(key);
  return at < 0 ? FIRST.length : at;
};

/** What one reads first comes first. Members of `properties` keep their order. */
function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, member]): [string, unknown] => [
    key,
    key === 'properties' ? Object.fromEntries(Object.entries(member as Json).map(([name, schema]) => [name, ordered(schema)])) : ordered(member),
  ]);
  return Object.fromEntries(entries.sort(([left], [right]) => rank(left) - rank(right)));
}
