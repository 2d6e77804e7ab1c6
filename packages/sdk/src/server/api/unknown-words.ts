import type { Issue } from '@bifrost/types/core';
import type { DescEnum, DescField, DescMessage, MessageShape } from '@bufbuild/protobuf';
import { StructSchema } from '@bufbuild/protobuf/wkt';

/** What is wrong with a word that is not of an enum. */
export const notAWord = ({ values }: DescEnum): string =>
  `must be one of ${values.flatMap(({ name, number }) => (number === 0 ? [] : [name])).join(', ')}`;

function issuesOfField(field: DescField, value: unknown, path: string): readonly Issue[] {
  const items: readonly (readonly [unknown, string])[] =
    field.fieldKind === 'list' ? (value as readonly unknown[]).map((item, index) => [item, `${path}.${index}`] as const) : [[value, path]];
  const { enum: choices, message } = field;
  if (choices !== undefined)
    return items.flatMap(([item, at]) => (choices.value[item as number] === undefined ? [{ path: at, message: notAWord(choices) }] : []));
  if (message === undefined || message.typeName === StructSchema.typeName) return [];
  return items.flatMap(([item, at]) => unknownWords(message, item as MessageShape<DescMessage>, `${at}.`));
}

/** Numbers in enums that stand for no word, which gRPC lets a caller say: refused wherever they stand, as REST refuses the word itself. */
export function unknownWords(desc: DescMessage, message: MessageShape<DescMessage>, prefix = ''): readonly Issue[] {
  return desc.fields.flatMap((field): readonly Issue[] => {
    const value = (message as unknown as Readonly<Record<string, unknown>>)[field.localName];
    return value === undefined || field.fieldKind === 'map' ? [] : issuesOfField(field, value, `${prefix}${field.name}`);
  });
}
