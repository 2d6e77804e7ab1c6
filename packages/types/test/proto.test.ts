import { type DescField, type DescMessage, type DescMethod, getOption, ScalarType } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  attachSidecarRequestSchema,
  attachSidecarResponseSchema,
  connectionMetricSchema,
  connectivityEventSchema,
  createTailnetRequestSchema,
  createTailnetResponseSchema,
  explainRequestSchema,
  firewallReportSchema,
  injectSidecarRequestSchema,
  networkStatusSchema,
  quarantineSidecarRequestSchema,
  updateSidecarRequestSchema,
  updateTailnetRequestSchema,
  upgradeSidecarsRequestSchema,
} from '../src/index.ts';
import * as proto from '../src/proto.ts';

const { NetworkManager, httpOption } = proto;

/** The schema's own form: JSON Schema is what zod itself says of it. */
const jsonSchemaOf = (schema: z.ZodType): Shape =>
  z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => describeSpecial(zodSchema, jsonSchema),
  }) as Shape;

interface Shape {
  readonly type?: string;
  readonly special?: string;
  readonly enum?: readonly string[];
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly items?: Shape;
  readonly additionalProperties?: unknown;
  readonly anyOf?: readonly Shape[];
}

function describeSpecial(zodSchema: z.core.$ZodType, jsonSchema: object): void {
  const { def } = zodSchema._zod;
  if (def.type === 'date') Object.assign(jsonSchema, { special: 'time' });
  if (def.type === 'bigint') Object.assign(jsonSchema, { special: 'int64' });
}

/** One word for what a member is, on either side. */
function kindOfShape(shape: Shape): string {
  if (shape.anyOf?.some(({ special }) => special === 'time')) return 'time';
  if (shape.anyOf?.some(({ special }) => special === 'int64')) return 'int64';
  if (shape.enum !== undefined) return 'enum';
  if (shape.type === 'array') return `list of ${kindOfShape(shape.items ?? {})}`;
  if (shape.type === 'integer') return 'number';
  if (shape.type === 'object' && shape.properties === undefined) return 'map';
  return shape.type ?? 'unknown';
}

function kindOfOne({ scalar, enum: choices, message }: DescField): string {
  if (choices !== undefined) return 'enum';
  if (message !== undefined) return message.typeName === 'google.protobuf.Timestamp' ? 'time' : 'object';
  const kinds: Partial<Record<ScalarType, string>> = {
    [ScalarType.STRING]: 'string',
    [ScalarType.BOOL]: 'boolean',
    [ScalarType.INT64]: 'int64',
  };
  return scalar === undefined ? 'unknown' : (kinds[scalar] ?? 'number');
}

const kindOfField = (field: DescField): string =>
  field.fieldKind === 'list' ? `list of ${kindOfOne(field)}` : field.fieldKind === 'map' ? 'map' : kindOfOne(field);

const wordOf = (name: string): string => name.replaceAll('_', '-');

/** Closed words that the specification has as text. */
const AS_TEXT: ReadonlySet<string> = new Set(['ConnectivityEvent.eventType']);

/** Every difference between a schema and its message, as sentences. `beside`: members that are the door's, not the schema's. */
function differences(
  shape: Shape,
  message: DescMessage,
  { beside, at = message.name }: { readonly beside: readonly string[]; readonly at?: string },
): string[] {
  const fields = new Map(message.fields.map((field) => [field.localName, field]));
  const properties = new Map(Object.entries(shape.properties ?? {}));
  const missing = [...properties.keys()].filter((name) => !fields.has(name)).map((name) => `${at}.${name} is not in the proto`);
  const extra = [...fields.keys()]
    .filter((name) => !properties.has(name) && !beside.includes(name))
    .map((name) => `${at}.${name} is not in the schema`);
  const wrong = [...properties].flatMap(([name, property]): string[] => {
    const field = fields.get(name);
    if (field === undefined) return [];
    const [kind, wanted] = [kindOfField(field), kindOfShape(property)];
    if (AS_TEXT.has(`${at}.${name}`)) return kind === 'string' ? [] : [`${at}.${name} is no text`];
    if (kind !== wanted) return [`${at}.${name} is ${kind} in the proto, ${wanted} in the schema`];
    if (kind === 'enum') {
      const words = (field.enum?.values ?? []).filter(({ number }) => number !== 0).map((value) => wordOf(value.name));
      return [...words].sort().join() === [...(property.enum ?? [])].sort().join() ? [] : [`${at}.${name} has other words`];
    }
    const inner = kind === 'object' ? property : kind === 'list of object' ? (property.items ?? {}) : undefined;
    return inner === undefined || field.message === undefined ? [] : differences(inner, field.message, { beside: [], at: `${at}.${name}` });
  });
  return [...missing, ...extra, ...wrong];
}

const PAIRS: readonly (readonly [z.ZodType, DescMessage, (readonly string[])?])[] = [
  [createTailnetRequestSchema, proto.CreateTailnetRequestSchema],
  [createTailnetResponseSchema, proto.CreateTailnetResponseSchema],
  [attachSidecarRequestSchema, proto.AttachSidecarRequestSchema],
  [attachSidecarRequestSchema, proto.PlanAttachSidecarRequestSchema],
  [attachSidecarResponseSchema, proto.AttachSidecarResponseSchema],
  [injectSidecarRequestSchema, proto.InjectSidecarRequestSchema, ['manifest']],
  [updateTailnetRequestSchema, proto.UpdateTailnetRequestSchema, ['updateMask', 'allowRollout', 'confirm', 'etag']],
  [updateTailnetRequestSchema, proto.PlanUpdateTailnetRequestSchema, ['updateMask']],
  [updateSidecarRequestSchema, proto.UpdateSidecarRequestSchema, ['updateMask', 'allowRollout', 'etag']],
  [updateSidecarRequestSchema, proto.PlanUpdateSidecarRequestSchema, ['updateMask']],
  [upgradeSidecarsRequestSchema, proto.UpgradeSidecarsRequestSchema, ['etag']],
  [upgradeSidecarsRequestSchema, proto.PlanUpgradeSidecarsRequestSchema],
  [explainRequestSchema, proto.ExplainPacketRequestSchema],
  [quarantineSidecarRequestSchema, proto.QuarantineSidecarRequestSchema, ['etag']],
  [firewallReportSchema, proto.GetFirewallRequirementsResponseSchema],
  [networkStatusSchema, proto.GetNetworkStatusResponseSchema],
  [connectionMetricSchema, proto.ConnectionMetricSchema],
  [connectivityEventSchema, proto.ConnectivityEventSchema],
];

describe('schemas and proto say the same, field by field', () => {
  for (const [schema, message, beside = []] of PAIRS) {
    it(message.name, () => expect(differences(jsonSchemaOf(schema), message, { beside })).toEqual([]));
  }

  it('a planted difference of each sort is seen', () => {
    const planted = z.strictObject({ tailnetId: z.string(), tailnetName: z.boolean(), status: z.enum(['creating']), more: z.string() });
    expect(differences(jsonSchemaOf(planted), proto.CreateTailnetResponseSchema, { beside: [] }).sort()).toEqual([
      'CreateTailnetResponse.createdAt is not in the schema',
      'CreateTailnetResponse.more is not in the proto',
      'CreateTailnetResponse.status has other words',
      'CreateTailnetResponse.tailnetName is string in the proto, boolean in the schema',
    ]);
  });
});

/** As the specification has them: names and numbers are fixed. */
const SPECIFIED: Readonly<Record<string, string>> = {
  CreateTailnetRequest: 'string customer_id = 1; string tailnet_name = 2; NetworkConfiguration config = 3; repeated string tags = 4',
  AttachSidecarRequest: 'string book_deployment_id = 1; string tailnet_name = 2; SidecarConfiguration config = 3',
  NetworkConfiguration:
    'repeated string allowed_networks = 1; repeated string blocked_networks = 2; AccessPolicy access_policy = 3; bool enable_logging = 4',
  ConnectivityEvent: 'string tailnet_name = 1; string event_type = 2; Timestamp timestamp = 3; map details = 4',
  GetConnectionMetricsResponse: 'repeated ConnectionMetric metrics = 1',
  ConnectionMetric:
    'string tailnet_name = 1; int64 bytes_sent = 2; int64 bytes_received = 3; double latency_ms = 4; bool is_connected = 5; Timestamp last_activity = 6',
};

const SCALARS: Partial<Record<ScalarType, string>> = {
  [ScalarType.STRING]: 'string',
  [ScalarType.BOOL]: 'bool',
  [ScalarType.INT64]: 'int64',
  [ScalarType.DOUBLE]: 'double',
};

function declared(field: DescField): string {
  const type = field.fieldKind === 'map' ? 'map' : (field.message?.name ?? field.enum?.name ?? SCALARS[field.scalar ?? ScalarType.BYTES]);
  return `${field.fieldKind === 'list' ? 'repeated ' : ''}${type} ${field.name} = ${field.number}`;
}

describe('the service', () => {
  it('has the specification’s nine calls, and MonitorConnectivity streams', () => {
    const specified = [
      ...['CreateTailnet', 'GetTailnet', 'UpdateTailnet', 'DeleteTailnet', 'AttachSidecar', 'DetachSidecar', 'GetNetworkStatus'],
      ...['MonitorConnectivity', 'GetConnectionMetrics'],
    ];
    const methods = new Map(NetworkManager.methods.map((method): [string, DescMethod] => [method.name, method]));
    expect(specified.filter((name) => !methods.has(name))).toEqual([]);
    expect(methods.get('MonitorConnectivity')).toMatchObject({ methodKind: 'server_streaming', output: { name: 'ConnectivityEvent' } });
  });

  it.each(Object.entries(SPECIFIED))('%s is the specification’s to the letter', (name, fields) => {
    const messages = Object.values(proto).filter(
      (value) => typeof value === 'object' && 'kind' in value && value.kind === 'message',
    ) as DescMessage[];
    const message = messages.find((each) => each.name === name);
    const own = fields.split('; ');
    expect(message?.fields.map(declared).slice(0, own.length)).toEqual(own);
  });

  it('every method has a REST path below /api/v1/networks, and no two share one', () => {
    const rules = NetworkManager.methods.flatMap((method) => {
      const rule = getOption(method, httpOption);
      return [rule, ...rule.additionalBindings].map(({ pattern }) => `${pattern.case} ${String(pattern.value)}`);
    });
    expect(rules.filter((rule) => !/^(get|post|patch|delete) \/api\/v1\/networks\//.test(rule))).toEqual([]);
    expect(new Set(rules).size).toBe(rules.length);
    expect(rules).toEqual(
      expect.arrayContaining([
        'post /api/v1/networks/tailnets',
        'post /api/v1/networks/sidecars',
        'get /api/v1/networks/tailnets/{tailnet_name}/status',
      ]),
    );
  });
});
