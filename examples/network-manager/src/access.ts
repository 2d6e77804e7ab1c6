import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { BifrostError, type Cluster } from '@bifrost/sdk';
import {
  type ApiKeyEntry,
  type Authenticator,
  anyOf,
  apiKeyAuthenticator,
  type CertificateIdentity,
  certificateAuthenticator,
  type JwtOptions,
  jwtAuthenticator,
  type ServiceAccountOptions,
  serviceAccountAuthenticator,
} from '@bifrost/sdk/server';

/** Who may call, as the access file says it. Every part may be left out. */
export interface AccessDocument {
  /** Issuers of tokens; `jwksFile` is a path beside the file. */
  readonly jwt?: readonly (Omit<JwtOptions, 'keys'> & { readonly jwksUrl?: string; readonly jwksFile?: string })[];
  readonly apiKeys?: readonly ApiKeyEntry[];
  readonly certificates?: readonly CertificateIdentity[];
  readonly serviceAccounts?: ServiceAccountOptions['accounts'];
}

const MEMBERS = ['jwt', 'apiKeys', 'certificates', 'serviceAccounts'] as const;

/** The callers of a service, and a way to take up what has changed while it runs. */
export interface Access {
  readonly authenticator: Authenticator;
  /** Reads the file again: who is not in it any more is nobody from now on. When it cannot be read, everything stays. @throws as `openAccess` */
  readonly reload: () => void;
}

interface AccessSource {
  readonly file: string | undefined;
  /** Beside those in the file. */
  readonly accounts: ServiceAccountOptions['accounts'];
  readonly cluster: Cluster;
}

/** @throws {BifrostError} `INVALID_OPTIONS` */
export function openAccess(source: AccessSource): Access {
  let current = authenticatorOf(source);
  return {
    authenticator: { authenticate: (shown, options) => current.authenticate(shown, options) },
    reload: () => {
      current = authenticatorOf(source);
    },
  };
}

function authenticatorOf({ file, accounts, cluster }: AccessSource): Authenticator {
  const { jwt = [], apiKeys = [], certificates = [], serviceAccounts = [] } = file === undefined ? {} : read(file);
  const issuers = jwt.map(({ jwksUrl, jwksFile = 'jwks.json', ...options }) => {
    const keys = jwksUrl === undefined ? { jwks: JSON.parse(readFileSync(resolve(dirname(file ?? ''), jwksFile), 'utf8')) } : { jwksUrl };
    return jwtAuthenticator({ ...options, keys });
  });
  return anyOf([
    apiKeyAuthenticator({ keys: apiKeys }),
    ...issuers,
    serviceAccountAuthenticator({
      review: async (token, options) => cluster.identities.reviewPodToken(token, options),
      accounts: [...accounts, ...serviceAccounts],
    }),
    certificateAuthenticator({ identities: certificates }),
  ]);
}

/** No file, nobody. */
function read(file: string): AccessDocument {
  if (!existsSync(file)) return {};
  const document = parsed(file);
  const unknown = Object.keys(document).filter((name) => !MEMBERS.some((member) => member === name));
  if (unknown.length === 0) return document as AccessDocument;
  throw new BifrostError({
    code: 'INVALID_OPTIONS',
    message: `The access file has members that are none: it may have ${MEMBERS.join(', ')}.`,
    issues: unknown.map((path) => ({ path: path.slice(0, 64), message: 'is not an option here' })),
  });
}

function parsed(file: string): object {
  try {
    const document: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof document === 'object' && document !== null && !Array.isArray(document)) return document;
  } catch (cause) {
    throw new BifrostError({ code: 'INVALID_OPTIONS', message: 'The access file cannot be read, or is not JSON.', cause });
  }
  throw new BifrostError({ code: 'INVALID_OPTIONS', message: 'The access file is not a JSON object.' });
}
