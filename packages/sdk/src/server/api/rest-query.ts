import { type DescField, type DescMessage, type JsonObject, type JsonValue, ScalarType } from '@bufbuild/protobuf';
import { fieldOf } from './fields.ts';
import { shownName, wrong } from './rest-error.ts';
import { notAWord } from './unknown-words.ts';

/** Percent escapes and plus signs; text must be Unicode. @throws {BifrostError} `INVALID_ARGUMENT` */
function decoded(text: string): string {
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) throw wrong('query', 'has a malformed percent escape');
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw wrong('query', 'is not UTF-8');
  }
}

/** Names and values of a query, in order. */
export function queryPairs(query: string): readonly (readonly [string, string])[] {
  return query
    .split('&')
    .filter((part) => part !== '')
    .map((part) => {
      const at = part.indexOf('=');
      if (at < 0) throw wrong(shownName(decoded(part)), 'has no value');
      return [decoded(part.slice(0, at)), decoded(part.slice(at + 1))];
    });
}

/** One value, as proto3 JSON has it. Numbers are written with digits, switches as `true` and `false`, words as words. */
function queryValue(field: DescField, text: string): JsonValue {
  const { scalar, enum: choices } = field;
  if (scalar === ScalarType.BOOL) {
    if (text === 'true' || text === 'false') return text === 'true';
    throw wrong(field.name, 'must be true or false');
  }
  if (scalar !== undefined && scalar !== ScalarType.STRING && !/^[0-9]{1,19}$/.test(text)) throw wrong(field.name, 'must be a whole number');
  if (choices !== undefined && !choices.values.some(({ name }) => name === text)) throw wrong(field.name, notAWord(choices));
  return text;
}

/** @throws {BifrostError} `INVALID_ARGUMENT` — a name that is no parameter, or comes twice; a value of another type */
export function fromQuery(desc: DescMessage, pairs: readonly (readonly [string, string])[], bound: ReadonlySet<string>): JsonObject {
  const json: Record<string, JsonValue> = {};
  for (const [name, text] of pairs) {
    const field = fieldOf(desc, name);
    if (field === undefined || bound.has(field.name) || field.message !== undefined || field.fieldKind === 'map')
      throw wrong(shownName(name), 'is not a parameter here');
    const known = json[field.name];
    if (field.fieldKind === 'list') json[field.name] = [...((known ?? []) as JsonValue[]), queryValue(field, text)];
    else if (known !== undefined) throw wrong(field.name, 'is given twice');
    else json[field.name] = queryValue(field, text);
  }
  return json;
}
