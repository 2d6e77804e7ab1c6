import { create, type DescField, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import { FieldMaskSchema, StructSchema, type Timestamp, TimestampSchema, timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { wrong } from './rest-error.ts';

/** A message as the manager's calls take and give it: words for enums, `Date` for times, absent members left out. */
export type Plain = Readonly<Record<string, unknown>>;

/** `customer_owned` in the proto, where a hyphen cannot be, is `customer-owned` here. */
const wordOf = (name: string): string => name.replaceAll('_', '-');

/** gRPC lets any number through. @throws {BifrostError} `INVALID_ARGUMENT` */
function knownWord(field: DescField, number: number, path: string): string {
  const known = field.enum?.value[number];
  if (known === undefined) throw wrong(path, 'is none of the words that are known here');
  return wordOf(known.name);
}

function plainValue(field: DescField, value: unknown, path: string): unknown {
  const { enum: choices, message } = field;
  if (choices !== undefined) return value === 0 ? undefined : knownWord(field, value as number, path);
  if (message === undefined || message.typeName === StructSchema.typeName) return value;
  if (message.typeName === TimestampSchema.typeName) return timestampDate(value as Timestamp);
  if (message.typeName === FieldMaskSchema.typeName) return (value as { readonly paths: readonly string[] }).paths;
  return plainOf(message, value as MessageShape<DescMessage>, path);
}

/** What a message says. Enums at their zero value, and members that were not set, are left out; so is nothing else. */
export function plainOf(desc: DescMessage, message: MessageShape<DescMessage>, at = ''): Plain {
  const out: Record<string, unknown> = {};
  for (const field of desc.fields) {
    const value = (message as unknown as Plain)[field.localName];
    if (value === undefined) continue;
    const path = at === '' ? field.name : `${at}.${field.name}`;
    const plain =
      field.fieldKind === 'list' && field.listKind !== 'scalar'
        ? (value as readonly unknown[]).map((item, index) => plainValue(field, item, `${path}.${index}`))
        : plainValue(field, value, path);
    if (plain !== undefined) out[field.localName] = plain;
  }
  return out;
}

const numberOf = (field: DescField, word: string): number | undefined => field.enum?.values.find(({ name }) => wordOf(name) === word)?.number;

function initValue(field: DescField, value: unknown): unknown {
  const { enum: choices, message } = field;
  if (choices !== undefined) return numberOf(field, value as string);
  if (message === undefined || message.typeName === StructSchema.typeName) return value;
  if (message.typeName === TimestampSchema.typeName) return timestampFromDate(value instanceof Date ? value : new Date(value as string));
  return initOf(message, value as Plain);
}

function initOf(desc: DescMessage, plain: Plain): Record<string, unknown> {
  const init: Record<string, unknown> = {};
  for (const field of desc.fields) {
    const value = plain[field.localName];
    if (value === undefined) continue;
    init[field.localName] =
      field.fieldKind === 'list' && field.listKind !== 'scalar'
        ? (value as readonly unknown[]).map((item) => initValue(field, item))
        : initValue(field, value);
  }
  return init;
}

/** The message of a plain object; members that the message does not know are left out. */
export function messageOf<Desc extends DescMessage>(desc: Desc, plain: Plain): MessageShape<Desc> {
  return create(desc, initOf(desc, plain) as Parameters<typeof create<Desc>>[1]);
}
