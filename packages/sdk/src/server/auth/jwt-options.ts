import { z } from 'zod';
import { isLoopback } from '../../manager/options.ts';
import type { KeyFetch } from './issuer-keys.ts';
import { clockOption, functionOption } from './options.ts';

/** Signatures whose key can be published. `none` and HS* are not among them: who knows such a "key" can sign. */
export const JWT_ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'] as const;

/** One of `JWT_ALGORITHMS`. */
export type JwtAlgorithm = (typeof JWT_ALGORITHMS)[number];

/** Members of a JWK that only its owner may know (RFC 7518, 6). */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'];

const publicKey = z.looseObject({ kty: z.enum(['RSA', 'EC', 'OKP'], 'must be RSA, EC or OKP') }).superRefine((key, context) => {
  for (const member of PRIVATE_MEMBERS) {
    if (Object.hasOwn(key, member)) context.addIssue({ code: 'custom', path: [member], message: 'is part of a private key: give the public one' });
  }
});

const jwksUrl = z.url({ protocol: /^https?$/ }).refine((value) => {
  const url = URL.parse(value); // null for what the check before has refused already
  if (url === null) return true;
  return (url.protocol === 'https:' || isLoopback(url.hostname)) && url.username === '' && url.password === '';
}, 'must be https (http is for loopback only), without a user name or a password');

const keys = z
  .strictObject({
    jwksUrl: jwksUrl.optional(),
    fetch: functionOption<KeyFetch>().optional(),
    jwks: z.object({ keys: z.array(publicKey).min(1).max(100) }).optional(),
  })
  .refine((given) => (given.jwksUrl === undefined) !== (given.jwks === undefined), 'must have exactly one of jwksUrl and jwks');

const claimName = z.string().min(1).max(256);
const audience = z.string().min(1).max(1_024);

export const jwtOptionsSchema = z.strictObject({
  issuer: z.string().min(1).max(1_024),
  audience: z.union([audience.transform((one) => [one]), z.array(audience).min(1).max(100)]),
  keys,
  algorithms: z.array(z.enum(JWT_ALGORITHMS, 'must be an asymmetric signature')).min(1).default(['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA']),
  clockToleranceSeconds: z.int().min(0).max(300).default(30),
  claims: z
    .strictObject({ subject: claimName.default('sub'), roles: claimName.default('bifrost_roles') })
    .default({ subject: 'sub', roles: 'bifrost_roles' }),
  subjectPrefix: z
    .string()
    .regex(/^([\x21-\x7e]{1,64})?$/, 'must be at most 64 printable ASCII characters without a space')
    .default(''),
  cacheSeconds: z.int().min(0).max(3_600).default(60),
  clock: clockOption,
});

/** Every setting with its value. */
export type ResolvedJwtOptions = z.output<typeof jwtOptionsSchema>;
