import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { FieldMaskSchema, StructSchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import type { Json } from './door.ts';

const NAMES = ['acme', 'other', 'nobodys', 'customer-a', 'customer-b', 'customer-a/book', 'book', 'second'];
const NETWORKS = ['10.0.0.0/8', '10.1.0.0/16', '0.0.0.0/0', '10.0.0.1/8', '::/0', 'fd00::/8', '10.0.0.0', '169.254.0.0/16'];
const EDGES = [
  '',
  ' ',
  '.',
  '..',
  '-',
  'A',
  'ä',
  '\u0000',
  '\r\n',
  '__proto__',
  'a'.repeat(64),
  'a'.repeat(2_000),
  '𝒳',
  '\u202e',
  'null',
  '%2f',
  '*',
  '"',
  '<a>',
  'a_b',
  '1e999',
  'NaN',
];
const PATHS = ['config', 'config.allowed_networks', 'config.enable_logging', 'config.accept_routes', 'config.hostname', 'tags', 'nothing', ''];

/** Texts: right ones, edges, and anything that is Unicode. */
const text = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(...NAMES) },
  { weight: 2, arbitrary: fc.constantFrom(...NETWORKS) },
  { weight: 2, arbitrary: fc.constantFrom(...EDGES) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 20 }).filter((each) => each.isWellFormed()) },
);
const wholeNumber = fc.oneof(fc.nat({ max: 20 }), fc.constantFrom(1000, 1001, 86_400_000, 4_294_967_295, 4_294_967_296, -1, 1.5, 1e21), fc.nat());
const member = fc.stringMatching(/^[a-zA-Z_]{1,12}$/);
const struct = fc.oneof(
  fc.record({
    apiVersion: fc.constantFrom('apps/v1', 'batch/v1', 'v1', ''),
    kind: fc.constantFrom('Deployment', 'Job', 'Pod', ''),
    metadata: fc.record({ name: text, namespace: fc.constantFrom('customer-a', 'customer-b', 'nobodys', '') }, { requiredKeys: [] }),
    spec: fc.record({ template: fc.record({ spec: fc.record({ containers: fc.array(fc.record({ name: text, image: text }), { maxLength: 2 }) }) }) }),
  }),
  fc.dictionary(member, fc.oneof(text, fc.boolean(), fc.nat(), fc.constant(null), fc.array(text, { maxLength: 2 })), { maxKeys: 4 }),
);

/** The number of a word that nobody knows: gRPC can say it. */
const UNKNOWN_WORD = 77_777;

function memberOf({ scalar, enum: choices, message }: DescField): fc.Arbitrary<unknown> {
  if (choices !== undefined) return fc.constantFrom(...choices.values.map(({ name }) => name), 'nothing', UNKNOWN_WORD);
  if (message?.typeName === FieldMaskSchema.typeName) return fc.array(fc.constantFrom(...PATHS), { maxLength: 3 }).map((paths) => paths.join(','));
  if (message?.typeName === StructSchema.typeName) return struct;
  if (message !== undefined) return requestOf(message);
  if (scalar === ScalarType.STRING) return text;
  return scalar === ScalarType.BOOL ? fc.boolean() : wholeNumber;
}

/** Any request of a type, in the proto's names: members are right, at an edge, or missing; with `otherKinds` now and then of another kind: a query has text only. */
export function requestOf(desc: DescMessage, { otherKinds = true }: { readonly otherKinds?: boolean } = {}): fc.Arbitrary<Json> {
  const members = desc.fields.map((field): [string, fc.Arbitrary<unknown>] => {
    const value = field.fieldKind === 'list' ? fc.array(memberOf(field), { maxLength: 3 }) : memberOf(field);
    if (!otherKinds) return [field.name, value];
    return [field.name, fc.oneof({ weight: 30, arbitrary: value }, { weight: 1, arbitrary: fc.constantFrom(5, 'x', true, [], {}) })];
  });
  return fc.record(Object.fromEntries(members), { requiredKeys: [] }) as fc.Arbitrary<Json>;
}

const SOUP = [
  '"',
  "'",
  '{',
  '}',
  '[',
  ']',
  ':',
  ',',
  '\\',
  '\\u',
  '\\ud800',
  '0',
  '-',
  'e9',
  '.',
  'null',
  'true',
  ' ',
  '\t',
  '\n',
  '\0',
  '\v',
  'ä',
  '\ufeff',
  '/*',
  '//',
  '"tags"',
  '"config"',
  '"__proto__"',
];
const TEXTS = [
  '{"tags":["a"],"config":{"allowed_networks":["10.0.0.0/8"],"access_policy":"standard","enable_logging":true},"update_mask":"tags,config.allowed_networks"}',
  '{"tags":[],"config":null}',
  '{}',
];

interface Edit {
  readonly at: number;
  readonly cut: number;
  readonly put: string;
}
const edit: fc.Arbitrary<Edit> = fc.record({ at: fc.nat({ max: 160 }), cut: fc.nat({ max: 3 }), put: fc.constantFrom('', ...SOUP) });

/** JSON with a few mistakes in it. */
export const brokenJson = fc
  .tuple(fc.constantFrom(...TEXTS), fc.array(edit, { minLength: 1, maxLength: 4 }))
  .map(([whole, edits]) => edits.reduce((given, { at, cut, put }) => `${given.slice(0, at)}${put}${given.slice(at + cut)}`, whole));

const PIECES = [
  'tailnets',
  'sidecars',
  'acme',
  'status',
  'metrics',
  'info',
  'leftovers',
  '/',
  '//',
  '.',
  '..',
  '%2e',
  '%2f',
  '%5c',
  '%00',
  '%ff',
  '%c3%a4',
  '%',
  '%4',
  ':',
  ':pause',
  ':planUpdate',
  ';',
  '+',
  '*',
  '@',
  '~',
  '\\',
  '{x}',
  'a',
];
const QUERY = [
  'page_size',
  'pageSize',
  'page_token',
  'customer_id',
  'tailnet_name',
  'status',
  'tag',
  'cascade',
  'x',
  '=',
  '=',
  '&',
  '1',
  '-1',
  'true',
  'active',
  'a',
  '%',
  '%00',
  '%ff',
  '+',
  '%26',
  '.',
  '[]',
  '?',
  '__proto__',
];
const glued = (pieces: readonly string[], maxLength: number) => fc.array(fc.constantFrom(...pieces), { maxLength }).map((parts) => parts.join(''));

/** Paths below the API's, with queries, out of pieces that mean something to somebody. */
export const target = fc
  .tuple(glued(PIECES, 6), fc.option(glued(QUERY, 8), { nil: undefined }))
  .map(([path, query]) => `/api/v1/networks/${path}${query === undefined ? '' : `?${query}`}`);
