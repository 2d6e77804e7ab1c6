import { type DescField, type DescMessage, type JsonValue, type MessageShape, toJson } from '@bufbuild/protobuf';

/** How every JSON door writes a message: the proto's names, and every member that has a value even when nobody set it. */
export const JSON_FORM = { useProtoFieldName: true, alwaysEmitImplicit: true } as const;

/** A message as REST callers see it: scripts may rely on its names. */
export const wireOf = <Desc extends DescMessage>(desc: Desc, message: MessageShape<Desc>): JsonValue => toJson(desc, message, JSON_FORM);

/** A member by either of its names. */
export const fieldOf = (desc: DescMessage, name: string): DescField | undefined =>
  desc.fields.find((field) => field.name === name || field.jsonName === name);

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
