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

/** The callers of a service, and a way to take up other API keys while it runs. */
export interface Access {
  readonly authenticator: Authenticator;
  /** Reads the file again: API keys that were added or taken away count from now on. What else has changed needs a restart. */
  readonly reload: () => void;
}

/** @throws {BifrostError} `INVALID_OPTIONS` */
export function openAccess({
  file,
  accounts,
  cluster,
}: {
  readonly file: string | undefined;
  readonly accounts: ServiceAccountOptions['accounts'];
  readonly cluster: Cluster;
}): Access {
  const document = file === undefined ? {} : read(file);
  const keys = apiKeyAuthenticator({ keys: document.apiKeys ?? [] });
  const issuers = (document.jwt ?? []).map(({ jwksUrl, jwksFile, ...options }) =>
    jwtAuthenticator({
      ...options,
      keys: jwksUrl === undefined ? { jwks: JSON.parse(readFileSync(resolve(dirname(file ?? ''), jwksFile ?? 'jwks.json'), 'utf8')) } : { jwksUrl },
    }),
  );
  const review: ServiceAccountOptions['review'] = async (token, options) => cluster.identities.reviewPodToken(token, options);
  const authenticator = anyOf([
    keys,
    ...issuers,
    serviceAccountAuthenticator({ review, accounts: [...accounts, ...(document.serviceAccounts ?? [])] }),
    certificateAuthenticator({ identities: document.certificates ?? [] }),
  ]);
  return { authenticator, reload: () => file !== undefined && keys.replace(read(file).apiKeys ?? []) };
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
