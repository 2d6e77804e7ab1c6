import { create, type DescField, type DescMessage, fromJson, type JsonObject, type JsonValue, type MessageShape } from '@bufbuild/protobuf';
import { isFieldError } from '@bufbuild/protobuf/reflect';
import { FieldMaskSchema } from '@bufbuild/protobuf/wkt';
import type { Match } from './http-rules.ts';
import { malformed, wrong } from './rest-error.ts';
import { fromQuery, queryPairs } from './rest-query.ts';
import { shapeIssues } from './rest-shape.ts';

/** A REST request whose path leads somewhere. */
export interface RestRequest {
  readonly match: Match;
  /** What stands behind the question mark. */
  readonly query: string;
  /** The body as parsed, or undefined when there was none. */
  readonly body: unknown;
}

const fieldOf = (desc: DescMessage, name: string): DescField | undefined =>
  desc.fields.find((field) => field.name === name || field.jsonName === name);

const isObject = (value: unknown): value is JsonObject => typeof value === 'object' && value !== null && !Array.isArray(value);

/** `config.allowed_networks` is how everybody here writes a path; proto3 JSON wants camel case in a mask. */
function withCamelMasks(desc: DescMessage, json: JsonObject): JsonObject {
  const isMask = (name: string): boolean => fieldOf(desc, name)?.message?.typeName === FieldMaskSchema.typeName;
  const camel = (mask: string): string => mask.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
  const members = Object.entries(json).map(([name, value]): [string, JsonValue] => [
    name,
    typeof value === 'string' && isMask(name) ? camel(value) : value,
  ]);
  return Object.fromEntries(members);
}

/** Only an escape of a letter, a digit or the like is read: a reserved character stays escaped, and a name has none. @throws {BifrostError} `INVALID_ARGUMENT` */
function unescaped(text: string): string {
  try {
    return text.replace(/(?:%[0-9A-Fa-f]{2})+/g, (run) => decodeURIComponent(run.replace(/%(?=21|2[346789A-Fa-f]|3[ABDFabdf]|40|5[BDbd])/g, '%25')));
  } catch {
    throw wrong('path', 'is not UTF-8');
  }
}

/**
 * The message of a REST request: from its path, its query, and its body.
 *
 * @throws {BifrostError} `INVALID_ARGUMENT` with the member at fault
 */
export function requestMessage({ match: { binding, bound }, query, body }: RestRequest): MessageShape<DescMessage> {
  const desc = binding.method.input;
  const given = binding.hasBody && body !== undefined ? body : {}; // null is a body, and no object
  if (!isObject(given)) throw wrong('', 'The body is not a JSON object.');
  for (const name of Object.keys(given)) {
    const field = fieldOf(desc, name);
    if (field !== undefined && bound.has(field.name)) throw wrong(field.name, 'is in the path already');
  }
  const fromPath = [...bound].map(([name, text]): [string, string] => [name, unescaped(text)]);
  const pairs = queryPairs(query);
  if (binding.hasBody && pairs.length > 0) throw wrong(pairs[0]?.[0].slice(0, 64) ?? '', 'belongs into the body');
  const json = { ...fromQuery(desc, pairs, new Set(bound.keys())), ...withCamelMasks(desc, given), ...Object.fromEntries(fromPath) };
  if (Object.keys(json).length === 0) return create(desc);
  const issues = shapeIssues(desc, json);
  if (issues.length > 0) throw malformed(issues);
  try {
    return fromJson(desc, json);
  } catch (error) {
    // Its text may hold what was sent.
    throw wrong(isFieldError(error) ? error.field().name : '', 'is not what this call takes');
  }
}
