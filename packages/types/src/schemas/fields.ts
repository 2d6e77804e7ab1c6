import { z } from 'zod';
import { formatCidr, hasHostBits, isIpv4Mapped, networkOf, parseAddress, parseCidr } from '../core/cidr.ts';

/** What a caller may pass where a schema reads: the schema's input with every list and member read-only. */
export type Input<Schema extends z.ZodType> = DeepReadonly<z.input<Schema>>;
type DeepReadonly<T> = T extends Date | bigint ? T : T extends object ? { readonly [K in keyof T]: DeepReadonly<T[K]> } : T;

/** Bounds of what callers send. Limits of reports are `REPORT_LIMITS`. */
export const REQUEST_LIMITS = { maxNetworks: 1000, maxRoutes: 64, maxTags: 32 } as const;

const DNS_LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const DNS_SUBDOMAIN = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/;
const LABEL_VALUE = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const NAMESPACED_NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\/(?=.{1,253}$)[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/;

const matching = (pattern: RegExp, error: string) => z.string().regex(pattern, { error });

/** One DNS label: it becomes a host name, an object's name, a part of a command line. */
export const dnsLabel = matching(
  DNS_LABEL,
  'must be one DNS label: 1 to 63 characters of a-z, 0-9 and hyphen, no hyphen at either end (no quotes, spaces, line breaks or other letters)',
);

/** A value that Kubernetes takes as a label. */
export const labelValue = matching(
  LABEL_VALUE,
  'must be 1 to 63 characters of A-Z, a-z, 0-9, dot, underscore and hyphen, with a letter or digit at both ends',
);

/** The name of a Kubernetes object. */
export const objectName = matching(DNS_SUBDOMAIN, 'must be the name of a Kubernetes object: up to 253 characters of a-z, 0-9, hyphen and dot');

/** A workload: label value, uid, or `namespace/name`. */
export const bookDeploymentId = z.string().refine((text) => LABEL_VALUE.test(text) || NAMESPACED_NAME.test(text), {
  error: 'must be the value of the label bifrost.dev/book-deployment-id, a uid, or "namespace/name"',
});

/** Text from outside: bounded, and without control characters, since it reaches logs and terminals. */
export const boundedText = (max: number) =>
  z
    .string()
    .max(max)
    .regex(/^\P{Cc}*$/u, { error: 'must not have control characters' });
export const boundedId = (max: number) => boundedText(max).min(1);

/** Counts, bytes and times in milliseconds: whole numbers that a double holds exactly. */
export const count = z.int().nonnegative();

export const ipAddress = z
  .string()
  .max(45)
  .refine((text) => parseAddress(text) !== undefined, { error: 'must be an IPv4 or IPv6 address' });

/** What is wrong with a range that somebody asks for, or undefined. */
function faultOf(text: string): string | undefined {
  const cidr = parseCidr(text);
  if (!cidr) return 'must be a range such as 10.1.0.0/16 or fd00:1::/64';
  if (isIpv4Mapped(cidr)) return 'must not be IPv4 written as IPv6: write the IPv4 range itself';
  if (cidr.prefixLength === 0) return 'must not cover every address: name the ranges that are meant';
  if (hasHostBits(cidr)) return `has bits set beyond its prefix: the range is written ${formatCidr(networkOf(cidr))}`;
  return undefined;
}

/** A range that a caller asks for; written canonically in the result, so that equal configurations compare equal. */
export const requestedCidr = z
  .string()
  .superRefine((text, context) => {
    const message = faultOf(text);
    if (message) context.addIssue({ code: 'custom', message });
  })
  .overwrite((text) => {
    const cidr = parseCidr(text);
    return cidr ? formatCidr(cidr) : text;
  });

/** A range as seen from outside: readable, nothing more. */
export const seenCidr = z
  .string()
  .max(49)
  .refine((text) => parseCidr(text) !== undefined, { error: 'must be an address range' });

/** A point in time: a `Date`, or RFC 3339 text with a zone. */
export const time = z.union([z.date(), z.iso.datetime({ offset: true }).transform((text) => new Date(text))], {
  error: 'must be a time as in RFC 3339, such as 2024-01-01T00:00:00Z',
});

const MAX_INT64 = 2n ** 63n - 1n;
/** A count as int64: bigint here, decimal text on the wire. */
export const int64Count = z
  .union(
    [
      z.bigint(),
      count.transform(BigInt),
      z
        .string()
        .regex(/^[0-9]{1,19}$/)
        .transform(BigInt),
    ],
    { error: 'must be a whole number, not negative' },
  )
  .refine((value) => value >= 0n && value <= MAX_INT64, { error: 'must be between 0 and 2^63 - 1' });
