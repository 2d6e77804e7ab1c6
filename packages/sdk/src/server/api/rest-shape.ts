import type { Issue } from '@bifrost/types/core';
import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { FieldMaskSchema, StructSchema, TimestampSchema } from '@bufbuild/protobuf/wkt';
import { fieldOf, isObject } from './fields.ts';
import { shownName } from './rest-error.ts';
import { notAWord } from './unknown-words.ts';

const MAX_ISSUES = 100;

/** What is wrong with one value, or undefined. Whether a text is a name, or a number is too large, is for others to say. */
function faultOf({ scalar, enum: choices, message }: DescField, value: unknown): string | undefined {
  if (choices !== undefined) {
    const isKnown = choices.values.some(({ name, number }) => name === value || number === value);
    return isKnown ? undefined : notAWord(choices);
  }
  if (message !== undefined) {
    if (message.typeName === FieldMaskSchema.typeName) return maskFault(value);
    if (message.typeName === TimestampSchema.typeName) return typeof value === 'string' ? undefined : 'must be text';
    return isObject(value) ? undefined : 'must be an object';
  }
  if (scalar === ScalarType.STRING) return typeof value === 'string' ? undefined : 'must be text';
  if (scalar === ScalarType.BOOL) return typeof value === 'boolean' ? undefined : 'must be true or false';
  if (scalar === ScalarType.DOUBLE) return typeof value === 'number' ? undefined : 'must be a number';
  const number = typeof value === 'string' && /^[0-9]{1,19}$/.test(value) ? Number(value) : value;
  return typeof number === 'number' && Number.isInteger(number) && number >= 0 ? undefined : 'must be a whole number, not negative';
}

/** Between two commas stands a path: readers of masks disagree on what nothing means there. */
function maskFault(value: unknown): string | undefined {
  if (typeof value !== 'string') return 'must be text';
  return value !== '' && value.split(',').includes('') ? 'names an empty path' : undefined;
}

const isOurs = ({ message }: DescField): boolean =>
  message !== undefined && ![StructSchema, FieldMaskSchema, TimestampSchema].some(({ typeName }) => typeName === message.typeName);

function issuesOfField(field: DescField, value: unknown, path: string): readonly Issue[] {
  if (value === null) return []; // as if it were not there
  if (field.fieldKind === 'list') {
    if (!Array.isArray(value)) return [{ path, message: 'must be a list' }];
    return value.flatMap((item, index) => issuesOfValue(field, item, `${path}.${index}`));
  }
  return issuesOfValue(field, value, path);
}

function issuesOfValue(field: DescField, value: unknown, path: string): readonly Issue[] {
  const message = faultOf(field, value);
  if (message !== undefined) return [{ path, message }];
  return isOurs(field) && field.message !== undefined ? issuesOf(field.message, value, path) : [];
}

function issuesOf(desc: DescMessage, json: unknown, at: string): readonly Issue[] {
  if (!isObject(json)) return [];
  const seen = new Set<string>();
  return Object.entries(json).flatMap(([name, value]): readonly Issue[] => {
    const field = fieldOf(desc, name);
    const path = at === '' ? (field?.name ?? shownName(name)) : `${at}.${field?.name ?? shownName(name)}`;
    if (field === undefined) return [{ path, message: 'is not an option here' }];
    if (seen.has(field.name)) return [{ path, message: 'is given twice, in two spellings' }];
    seen.add(field.name);
    return issuesOfField(field, value, path);
  });
}

/** Members that a message does not have, and values of another kind: each with its path, as the caller wrote it. */
export const shapeIssues = (desc: DescMessage, json: unknown): readonly Issue[] => issuesOf(desc, json, '').slice(0, MAX_ISSUES);
