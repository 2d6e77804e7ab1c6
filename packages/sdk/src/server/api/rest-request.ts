import { BifrostError } from '@bifrost/types/core';
import { create, type DescField, type DescMessage, fromJson, type JsonObject, type JsonValue, type MessageShape } from '@bufbuild/protobuf';
import { isFieldError } from '@bufbuild/protobuf/reflect';
import { FieldMaskSchema } from '@bufbuild/protobuf/wkt';
import type { Match } from './http-rules.ts';

/** What a request says outside of its body. */
export interface RestRequest {
  readonly match: Match;
  readonly query: URLSearchParams;
  /** The body as parsed, or undefined when there was none. */
  readonly body: unknown;
}

export const wrong = (path: string, message: string): BifrostError =>
  new BifrostError({ code: 'INVALID_ARGUMENT', message: path === '' ? message : `${path}: ${message}`, issues: [{ path, message }] });

const fieldOf = (desc: DescMessage, name: string): DescField | undefined =>
  desc.fields.find((field) => field.name === name || field.jsonName === name);

const isObject = (value: unknown): value is JsonObject => typeof value === 'object' && value !== null && !Array.isArray(value);

/** `config.allowed_networks` is how everybody here writes a path; proto3 JSON wants camel case in a mask. */
function withCamelMasks(desc: DescMessage, json: JsonObject): JsonObject {
  const masks = desc.fields.filter(({ message }) => message?.typeName === FieldMaskSchema.typeName);
  const camel = (mask: string): string => mask.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
  const members = Object.entries(json).map(([name, value]): [string, JsonValue] =>
    typeof value === 'string' && masks.some((field) => field.name === name || field.jsonName === name) ? [name, camel(value)] : [name, value],
  );
  return Object.fromEntries(members);
}

/** One value of a query or a path, as proto3 JSON would have it. */
function scalarOf(field: DescField, text: string): JsonValue {
  if (field.scalar === 8 /* bool */) {
    if (text === 'true' || text === 'false') return text === 'true';
    throw wrong(field.name, 'must be true or false');
  }
  return text;
}

function fromQuery(desc: DescMessage, query: URLSearchParams, bound: ReadonlyMap<string, string>): JsonObject {
  const json: Record<string, JsonValue> = {};
  for (const name of new Set(query.keys())) {
    const field = fieldOf(desc, name);
    if (
      field === undefined ||
      bound.has(field.name) ||
      field.fieldKind === 'map' ||
      (field.message !== undefined && field.message.typeName !== FieldMaskSchema.typeName)
    )
      throw wrong(name.slice(0, 64), 'is not a parameter here');
    const values = query.getAll(name).map((text) => scalarOf(field, text));
    if (field.fieldKind !== 'list' && values.length > 1) throw wrong(field.name, 'is given twice');
    json[field.name] = field.fieldKind === 'list' ? values : (values[0] ?? null);
  }
  return json;
}

/**
 * The message of a REST request: from its path, its query, and its body.
 *
 * @throws {BifrostError} `INVALID_ARGUMENT` with the member at fault
 */
export function requestMessage({ match: { binding, bound }, query, body }: RestRequest): MessageShape<DescMessage> {
  const desc = binding.method.input;
  const given = binding.hasBody ? (body ?? {}) : {};
  if (!isObject(given)) throw wrong('', 'The body is not a JSON object.');
  for (const name of Object.keys(given)) {
    const field = fieldOf(desc, name);
    if (field !== undefined && bound.has(field.name)) throw wrong(field.name, 'is in the path already');
  }
  const json = { ...fromQuery(desc, query, bound), ...withCamelMasks(desc, given), ...Object.fromEntries(bound) };
  if (Object.keys(json).length === 0) return create(desc);
  try {
    return fromJson(desc, json);
  } catch (error) {
    // Its text may hold what was sent.
    throw wrong(isFieldError(error) ? error.field().name : '', 'is not what this call takes: a member is unknown, or has another type');
  }
}
