import { z } from 'zod';

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
