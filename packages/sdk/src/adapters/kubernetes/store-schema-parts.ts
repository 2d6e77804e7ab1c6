import { formatCidr, parseCidr } from '@bifrost/types/core';
import { z } from 'zod';

/**
 * What is stored in custom resources, in the words of `domain/model.ts`. The custom resource definitions are made of these (`npm run generate`), so
 * what stands here in `describe` is what `kubectl explain` says. Form alone is checked here: it must let in whatever was stored once. What the words
 * mean is checked by the manager, as for a call, and told as the condition `Accepted`.
 */

/** A rule in CEL that the API server checks at each write. Never on the object's root: its metadata changes with every write, so a rule there could hold up a finalizer. */
export interface ServerRule {
  readonly rule: string;
  readonly message: string;
  readonly fieldPath?: string;
  /** `oldSelf` is an optional, and the rule holds for a new object too. */
  readonly optionalOldSelf?: boolean;
}

export const validations = (...rules: readonly ServerRule[]): { readonly 'x-kubernetes-validations': readonly ServerRule[] } => ({
  'x-kubernetes-validations': rules,
});

/** A member that keeps its first value. */
export const fixed = (member: string): ReturnType<typeof validations> =>
  validations({ rule: 'self == oldSelf', message: `${member} cannot be changed` });

export const text = (maxLength?: number): z.ZodString => (maxLength === undefined ? z.string() : z.string().max(maxLength));
/** `pattern` must be one that Go's RE2 knows too: no look-around. */
export const within = (pattern: RegExp, maxLength: number): z.ZodString => z.string().max(maxLength).regex(pattern);
export const positive = z.int().min(1);
export const millisecondsSince1970 = z.int().nonnegative();

/** May be left out: the codec fills it in from other members. The empty text stands for "left out" and goes into no definition. */
export const filledInByUs = (schema: z.ZodString): z.ZodDefault<z.ZodString> => schema.default('');

export const LABEL_VALUE = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;

export const range = text(64)
  .overwrite((written) => {
    const cidr = parseCidr(written);
    return cidr ? formatCidr(cidr) : written; // as calls have it, so that equal configurations compare equal
  })
  .meta(validations({ rule: 'isCIDR(self)', message: 'must be an address range such as 10.1.0.0/16 or fd00:1::/64' }));

export const reasonShape = {
  code: text(128).describe('An error code; docs/runbooks has a page for each.'),
  message: text(32_768).describe('A sentence that says what to do.'),
  path: text(4096).exactOptional().describe('The field at fault.'),
};
export const reason = z.object(reasonShape).readonly().describe('Why it is not as it was wanted.');

const condition = z
  .object({
    type: text(316).min(1).describe('Accepted, Ready, or another matter of this kind.'),
    status: z.enum(['True', 'False', 'Unknown']).describe('Whether it holds.'),
    reason: within(/^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/, 1024).describe('One word; an error code where something is wrong.'),
    message: text(32_768).describe('A sentence for people.'),
    observedGeneration: z.int().nonnegative().describe('The metadata.generation that it speaks of.'),
    lastTransitionTime: text(64).meta({ format: 'date-time' }).describe('Since when the status holds.'),
  })
  .readonly();
export const conditions = z
  .array(condition)
  .readonly()
  .exactOptional()
  .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] })
  .describe('How matters stand, one entry for each type.');
