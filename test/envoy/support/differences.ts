/**
 * Where Envoy's doors and the service's own do not say the same, and why that stays. A test fails when a line is no longer needed.
 */
export const DIFFERENCES = {
  'a key as a token': "jwt_authn knows no keys: whatever is shown as a bearer token must be one of the issuer's. A key has its own header.",
  'a good key and a bad token':
    'jwt_authn ends a bad token whatever else is shown; the service asks each of its authenticators, and the key is known.',
} as const;

export type Difference = keyof typeof DIFFERENCES;
