// OpenAPI 3.1 of the REST paths: forms and comments out of the descriptor set, bounds and patterns out of the schemas that read the requests.
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const types = join(dirname(dirname(fileURLToPath(import.meta.url))), 'packages', 'types');
const require = createRequire(join(types, 'package.json'));
const { createFileRegistry, fromBinary, getOption, ScalarType, createRegistry } = await import(require.resolve('@bufbuild/protobuf'));
const { FileDescriptorSetSchema } = await import(require.resolve('@bufbuild/protobuf/wkt'));
const { z } = await import(require.resolve('zod'));
const schemas = await import('../packages/types/src/schemas/index.ts');
const { http } = await import('../packages/types/src/gen/google/api/annotations_pb.js');

const SERVICE = 'bifrost.network.v1.NetworkManager';

/** Which schema reads which message. */
const READ_BY = {
  CreateTailnetRequest: schemas.createTailnetRequestSchema,
  AttachSidecarRequest: schemas.attachSidecarRequestSchema,
  PlanAttachSidecarRequest: schemas.attachSidecarRequestSchema,
  InjectSidecarRequest: schemas.injectSidecarRequestSchema,
  UpdateTailnetRequest: schemas.updateTailnetRequestSchema,
  PlanUpdateTailnetRequest: schemas.updateTailnetRequestSchema,
  UpdateSidecarRequest: schemas.updateSidecarRequestSchema,
  PlanUpdateSidecarRequest: schemas.updateSidecarRequestSchema,
  UpgradeSidecarsRequest: schemas.upgradeSidecarsRequestSchema,
  PlanUpgradeSidecarsRequest: schemas.upgradeSidecarsRequestSchema,
};
const READ_WITHIN = {
  NetworkConfiguration: schemas.networkConfigurationSchema,
  SidecarConfiguration: schemas.sidecarConfigurationSchema,
};
const KEPT = ['pattern', 'minLength', 'maxLength', 'maxItems', 'minimum', 'maximum', 'default'];

const CREATES = new Set(['CreateTailnet', 'AttachSidecar', 'InjectSidecar']);
const REMOVES = new Set(['DeleteTailnet', 'DetachSidecar']);

/** Comments by descriptor: a file's source information has them by path. */
function commentsOf(set) {
  const comments = new Map();
  for (const file of set.file) {
    const byPath = new Map(
      file.sourceCodeInfo?.location.map(({ path, leadingComments, trailingComments }) => [path.join(), (leadingComments || trailingComments).trim()]),
    );
    const message = (proto, path, name) => {
      comments.set(name, byPath.get(path.join()) ?? '');
      for (const [index, field] of proto.field.entries()) comments.set(`${name}.${field.name}`, byPath.get([...path, 2, index].join()) ?? '');
      for (const [index, nested] of proto.nestedType.entries()) message(nested, [...path, 3, index], `${name}.${nested.name}`);
      for (const [index, nested] of proto.enumType.entries()) choices(nested, [...path, 4, index], `${name}.${nested.name}`);
    };
    const choices = (proto, path, name) => {
      comments.set(name, byPath.get(path.join()) ?? '');
      for (const [index, value] of proto.value.entries()) comments.set(`${name}.${value.name}`, byPath.get([...path, 2, index].join()) ?? '');
    };
    for (const [index, each] of file.messageType.entries()) message(each, [4, index], `${file.package}.${each.name}`);
    for (const [index, each] of file.enumType.entries()) choices(each, [5, index], `${file.package}.${each.name}`);
    for (const [at, service] of file.service.entries()) {
      for (const [index, method] of service.method.entries())
        comments.set(`${file.package}.${service.name}.${method.name}`, byPath.get([6, at, 2, index].join()) ?? '');
    }
  }
  return comments;
}

const oneLine = (text) => text.replaceAll(/\s*\n\s*/g, ' ');

/** The document as an object. */
export function openApi(descriptorSet) {
  const set = fromBinary(FileDescriptorSetSchema, descriptorSet, { registry: createRegistry(http) });
  const registry = createFileRegistry(set);
  const comments = commentsOf(set);
  const said = (name) => {
    const text = oneLine(comments.get(name) ?? '');
    return text === '' ? {} : { description: text };
  };
  const components = {};
  const nameOf = ({ typeName }) => typeName.replace(/^bifrost\.network\.v1\./, '').replaceAll('.', '_');
  const ref = (desc, build) => {
    const name = nameOf(desc);
    if (!(name in components)) {
      components[name] = {};
      components[name] = build(desc);
    }
    return { $ref: `#/components/schemas/${name}` };
  };

  const enumSchema = (desc) => {
    const values = desc.values.filter(({ number }) => number !== 0);
    const lines = values.map(({ name }) => [name, comments.get(`${desc.typeName}.${name}`)]).filter(([, text]) => text);
    const text = [comments.get(desc.typeName), ...lines.map(([name, line]) => `\`${name}\`: ${line}`)].filter(Boolean).map(oneLine).join(' ');
    return { type: 'string', enum: values.map(({ name }) => name), ...(text === '' ? {} : { description: text }) };
  };
  const SCALARS = {
    [ScalarType.STRING]: { type: 'string' },
    [ScalarType.BOOL]: { type: 'boolean' },
    [ScalarType.DOUBLE]: { type: 'number' },
    [ScalarType.UINT32]: { type: 'integer', minimum: 0, maximum: 4294967295 },
    [ScalarType.INT64]: { type: 'string', format: 'int64', pattern: '^-?[0-9]+$' },
  };
  const KNOWN = {
    'google.protobuf.Timestamp': { type: 'string', format: 'date-time' },
    'google.protobuf.FieldMask': { type: 'string', examples: ['config.allowed_networks,tags'] },
    'google.protobuf.Struct': { type: 'object' },
  };
  const one = (field) => {
    if (field.enum) return ref(field.enum, enumSchema);
    if (field.message) return KNOWN[field.message.typeName] ?? ref(field.message, messageSchema);
    return SCALARS[field.scalar];
  };
  const fieldSchema = (field, bounds = {}) => {
    const kept = Object.fromEntries(KEPT.filter((name) => name in bounds).map((name) => [name, bounds[name]]));
    if (field.fieldKind === 'map') return { type: 'object', additionalProperties: { type: 'string' } };
    if (field.fieldKind !== 'list') return { ...one(field), ...kept };
    const inner = Object.fromEntries(KEPT.filter((name) => name in (bounds.items ?? {})).map((name) => [name, bounds.items[name]]));
    return { type: 'array', items: { ...one(field), ...inner }, ...kept };
  };
  const boundsOf = (desc) => {
    const schema = READ_BY[desc.name] ?? READ_WITHIN[desc.name];
    return schema === undefined ? {} : z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  };
  function messageSchema(desc, { except = [] } = {}) {
    const { properties: bounds = {}, required = [] } = boundsOf(desc);
    const fields = desc.fields.filter(({ name }) => !except.includes(name));
    const needed = fields.filter(({ localName, fieldKind }) => required.includes(localName) && fieldKind !== 'list').map(({ name }) => name);
    return {
      type: 'object',
      ...said(desc.typeName),
      properties: Object.fromEntries(
        fields.map((field) => [field.name, { ...fieldSchema(field, bounds[field.localName]), ...said(`${desc.typeName}.${field.name}`) }]),
      ),
      ...(needed.length === 0 ? {} : { required: needed }),
    };
  }

  const parameter = (field, place, bounds) => ({
    name: field.name,
    in: place,
    ...(place === 'path' ? { required: true } : {}),
    ...said(`${field.parent.typeName}.${field.name}`),
    schema: fieldSchema(field, bounds),
  });
  const json = (schema) => ({ content: { 'application/json': { schema } } });
  const answers = (method) => {
    if (method.methodKind === 'server_streaming') {
      const schema = ref(method.output, messageSchema);
      return {
        200: { description: 'Events, until the reader leaves.', content: { 'text/event-stream': { schema }, 'application/x-ndjson': { schema } } },
      };
    }
    const body = json(ref(method.output, messageSchema));
    if (CREATES.has(method.name))
      return { 201: { description: 'It was not there before.', ...body }, 200: { description: 'It was there already.', ...body } };
    if (REMOVES.has(method.name)) return { 202: { description: 'Asked for: it is gone when it is not found any more.', ...body } };
    return { 200: { description: 'As asked for.', ...body } };
  };
  const changes = (rule) => rule.pattern.case !== 'get';
  const operation = (method, rule, index) => {
    const template = String(rule.pattern.value);
    const bound = [...template.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    const bounds = boundsOf(method.input).properties ?? {};
    const parts = method.input.fields.map((field) => [field, bound.includes(field.name) ? 'path' : 'query']);
    const hasBody = rule.body === '*';
    const parameters = parts
      .filter(([, place]) => place === 'path' || !hasBody)
      .map(([field, place]) => parameter(field, place, bounds[field.localName]));
    const headers = changes(rule)
      ? ['IdempotencyKey', ...(bound.length > 0 ? ['IfMatch'] : [])].map((name) => ({ $ref: `#/components/parameters/${name}` }))
      : [];
    const body = messageSchema(method.input, { except: bound });
    return {
      operationId: index === 0 ? method.name : `${method.name}${index + 1}`,
      ...said(`${SERVICE}.${method.name}`),
      parameters: [...parameters, ...headers],
      ...(hasBody ? { requestBody: { required: Object.keys(body.properties).length > 0, ...json(body) } } : {}),
      responses: { ...answers(method), default: { $ref: '#/components/responses/Error' } },
    };
  };

  const paths = {};
  for (const method of registry.getService(SERVICE).methods) {
    const rule = getOption(method, http);
    for (const [index, each] of [rule, ...rule.additionalBindings].entries()) {
      const path = String(each.pattern.value);
      paths[path] ??= {};
      paths[path][each.pattern.case] = operation(method, each, index);
    }
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Bifrost network API',
      version: 'v1',
      description: 'Gives each customer’s books that customer’s private network, and nobody else’s. The same calls are to be had over gRPC.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }, { apiKey: [] }, { certificate: [] }],
    paths: Object.fromEntries(Object.entries(paths).sort(([a], [b]) => (a < b ? -1 : 1))),
    components: {
      schemas: { ...Object.fromEntries(Object.entries(components).sort(([a], [b]) => (a < b ? -1 : 1))), Status: STATUS },
      parameters: PARAMETERS,
      responses: {
        Error: {
          description: 'What is wrong, and what to do. `details` has an ErrorInfo whose `reason` is the code to branch on.',
          headers: { 'x-request-id': { description: 'Say it when you ask for help.', schema: { type: 'string' } } },
          ...json({ $ref: '#/components/schemas/Status' }),
        },
      },
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'A JWT of the installation’s issuer, or a projected ServiceAccount token.' },
        apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key' },
        certificate: { type: 'mutualTLS' },
      },
    },
  };
}

const STATUS = {
  type: 'object',
  description: 'google.rpc.Status.',
  properties: {
    code: { type: 'integer', description: 'google.rpc.Code.' },
    message: { type: 'string' },
    details: { type: 'array', items: { type: 'object', properties: { '@type': { type: 'string' } }, required: ['@type'] } },
  },
  required: ['code', 'message'],
};

const PARAMETERS = {
  IdempotencyKey: {
    name: 'Idempotency-Key',
    in: 'header',
    description: 'The same key with the same request gets the same answer for a day, whatever was lost on the way.',
    schema: { type: 'string', minLength: 1, maxLength: 128, pattern: '^[\\x21-\\x7e]+$' },
  },
  IfMatch: {
    name: 'If-Match',
    in: 'header',
    description: 'The `etag` that was read: only what has not changed since then is changed.',
    schema: { type: 'string' },
  },
};
