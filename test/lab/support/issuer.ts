import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Issuer } from '../../support/issuer.ts';

/** A token of the lab's issuer, whose public key Envoy and service know. */
export const bearer = (roles: readonly string[]): { readonly authorization: string } =>
  new Issuer({ key: createPrivateKey(readFileSync('/run/bifrost-lab/tls/issuer.key')), kid: 'lab' }).bearer(roles);
